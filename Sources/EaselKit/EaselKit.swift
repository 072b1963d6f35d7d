/// All of Easel for programs: tensors, gradients, layers, optimizers, images, texts, data sets, models, training, and the
/// requests that can be made.
@_exported import EaselDatasets
@_exported import EaselGradients
@_exported import EaselImages
@_exported import EaselLayers
@_exported import EaselMetrics
@_exported import EaselModels
@_exported import EaselOptimizers
@_exported import EaselRunStorage
@_exported import EaselSupport
@_exported import EaselTensors
@_exported import EaselText
@_exported import EaselTraining
@_exported import EaselWorkbench
