/// Everything of Easel for programs: tensors, gradients, layers, optimizers, images, data sets, models, training.
@_exported import Datasets
@_exported import Gradients
@_exported import Images
@_exported import Layers
@_exported import Metrics
@_exported import Models
@_exported import Optimizers
@_exported import RunStorage
@_exported import Tensors
@_exported import Training
