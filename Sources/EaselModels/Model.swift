@_exported import EaselDatasets
@_exported import EaselImages
@_exported import EaselOptimizers
import EaselRunStorage
import EaselSupport

/// Numbers that a training step reports, by name. `loss` is always among them.
public typealias Metrics = [String: Float]

/// A generative model: networks with parameters, and how one step of training goes.
///
/// What else it can do it says by conforming to ``Sampling``, ``CodeDecoding`` and ``Restoring``.
public protocol Model: AnyObject {
  var context: ModelContext { get }
  /// Its own networks; those of its parts are theirs.
  var components: [Component] { get }
  /// One step on a batch. Parameters are changed through ``TrainingStep/update(_:loss:rate:)``.
  func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics
  /// The mean loss over images that it is not trained on; the same for the same images and weights.
  func validationLoss(_ batch: Batch) -> Float
  /// What is going wrong in the training, as far as the model can tell; nil for nothing.
  var alarm: String? { get }
  /// Completes the moving average for use, where there is one: statistics that only a pass with its weights can give.
  ///
  /// - Parameter isEnough: looked at on the way: where it holds, statistics over fewer images will do.
  func refreshAverageStatistics(until isEnough: () -> Bool)
  /// One pass of the network that makes pictures, for as many images as the batch has: what `easel bench` times. By default the
  /// pass of ``validationLoss(_:)``.
  func benchmarkPass(_ batch: Batch)
}

extension Model {
  public func benchmarkPass(_ batch: Batch) { _ = validationLoss(batch) }
  public var alarm: String? { nil }
  public func refreshAverageStatistics(until isEnough: () -> Bool) {}
  public func refreshAverageStatistics() { refreshAverageStatistics { false } }
}
