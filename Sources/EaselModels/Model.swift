@_exported import EaselDatasets
@_exported import EaselImages
@_exported import EaselOptimizers
import EaselRunStorage
import EaselSupport

/// Numbers that a training step reports, by name. `loss` is always among them.
public typealias Metrics = [String: Float]

/// A generative model: networks with parameters, and its training step.
///
/// Conform to ``Sampling``, ``CodeDecoding``, ``Restoring`` and others to declare further capabilities.
public protocol Model: AnyObject {
  var context: ModelContext { get }
  /// Its own networks; those of its parts are theirs.
  var components: [Component] { get }
  /// One step on a batch. Parameters are changed through ``TrainingStep/update(_:loss:rate:)``.
  func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics
  /// The mean loss over images that it was not trained on; the same for the same images and weights.
  func validationLoss(_ batch: Batch) -> Float
  /// What is going wrong in the training, as far as the model can tell; nil if nothing is.
  var alarm: String? { get }
  /// Completes the moving average, if there is one, by statistics that need a pass with its weights.
  ///
  /// - Parameter isEnough: checked on the way; once it is true, statistics over fewer images suffice.
  func refreshAverageStatistics(until isEnough: () -> Bool)
  /// One pass of the network that makes pictures, for as many images as the batch has; `easel bench` times it. By
  /// default the pass of ``validationLoss(_:)``.
  func benchmarkPass(_ batch: Batch)
}

extension Model {
  public func benchmarkPass(_ batch: Batch) { _ = validationLoss(batch) }
  public var alarm: String? { nil }
  public func refreshAverageStatistics(until isEnough: () -> Bool) {}
  public func refreshAverageStatistics() { refreshAverageStatistics { false } }
}
