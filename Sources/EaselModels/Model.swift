@_exported import EaselDatasets
@_exported import EaselImages
@_exported import EaselOptimizers
import EaselRunStorage
import EaselSupport

/// What a model needs to know of its data.
public struct DataDescription: Sendable, Hashable, Codable {
  public var width, height, channels: Int
  /// The labels' names; empty where the data have none.
  public var classNames: [String]
  /// Numbers of the classes that no image for training shows; nil for none.
  public var untrainedClasses: [Int]?

  public init(width: Int, height: Int, channels: Int, classNames: [String] = []) {
    self.width = width
    self.height = height
    self.channels = channels
    self.classNames = classNames
  }

  /// - Parameter dataset: the images for training.
  public init(_ dataset: ImageDataset) {
    self.init(
      width: dataset.width, height: dataset.height, channels: dataset.channels,
      classNames: dataset.labels == nil ? [] : dataset.classNames)
    let counts = dataset.classCounts
    let untrained = counts.indices.filter { counts[$0] == 0 }
    if !untrained.isEmpty { untrainedClasses = untrained }
  }

  /// Numbers of the classes that a model can have learned.
  public var trainedClasses: [Int] {
    let untrained = Set(untrainedClasses ?? [])
    let trained = classNames.indices.filter { !untrained.contains($0) }
    return trained.isEmpty ? Array(classNames.indices) : trained
  }

  /// Some names of classes, for people: not thousands.
  public func list(_ classes: [Int]) -> String {
    let most = 20
    return classes.prefix(most).map { classNames[$0] }.joined(separator: ", ")
      + (classes.count > most ? " and \(classes.count - most) more" : "")
  }

  /// The shape of a batch of images.
  public func shape(_ count: Int) -> Shape { [count, height, width, channels] }
}

/// Where and how a model computes.
public struct ModelContext {
  public let backend: any Backend
  /// The type of activations.
  public let type: ScalarType
  public let seed: UInt64
  public let data: DataDescription

  public init(backend: any Backend, type: ScalarType, seed: UInt64, data: DataDescription) {
    self.backend = backend
    self.type = type
    self.seed = seed
    self.data = data
  }
}

/// One network of a model with its parameters, and while training its optimizer: the unit that checkpoints name.
public final class Component {
  /// The prefix of the parameters' names in checkpoints; empty for a model's only network.
  public let name: String
  public let arena: Arena
  /// Whether pictures can be made without it, as without a discriminator: it keeps no average and is not read for them.
  public let isForTrainingOnly: Bool
  /// Nil where the model is only used.
  public internal(set) var optimizer: Optimizer?
  /// Updates of the moving average so far.
  public var averageUpdates = 0
  /// What training goes on from besides weights and moments, float32, by names that stay the same: a pool of images, say.
  public var trainingState: [(name: String, tensor: Tensor)] = []

  /// A network whose layers a scope has.
  ///
  /// - Parameters:
  ///   - name: the prefix of the parameters' names in checkpoints; empty for a model's only network.
  ///   - scope: where its layers have declared their parameters.
  ///   - context: where the model computes, and its seed.
  ///   - seed: of the first values; nil for the context's.
  ///   - isForTrainingOnly: whether pictures can be made without it, as without a discriminator.
  /// - Throws: `UserError(.unavailable)` where the parameters do not fit into memory.
  public convenience init(
    _ name: String, _ scope: Scope, _ context: ModelContext, seed: UInt64? = nil, isForTrainingOnly: Bool = false
  ) throws {
    let parameters = scope.parameterCount
    try MachineMemory.require(4 * parameters, for: "a model of \(parameters) parameters")
    self.init(
      name, scope.makeArena(on: context.backend, seed: seed ?? context.seed), isForTrainingOnly: isForTrainingOnly)
  }

  public init(_ name: String = "", _ arena: Arena, isForTrainingOnly: Bool = false) {
    self.name = name
    self.arena = arena
    self.isForTrainingOnly = isForTrainingOnly
  }
}

/// Numbers that a training step reports, by name. `loss` is always among them.
public typealias Metrics = [String: Float]

/// A generative model: networks with parameters, and how one step of training goes.
///
/// What else it can do it says by conforming to ``Sampling``, ``CodeDecoding`` and ``Restoring``.
public protocol Model: AnyObject {
  var context: ModelContext { get }
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

/// The place of a training step in its run, and what it is done with.
public struct TrainingStep {
  /// Counted from 0.
  public let index: Int
  public let settings: TrainingSettings
  /// What the schedule has made of the settings' learning rate by this step.
  public let learningRate: Float
  /// How much of the training is over, 0 to 1: what else than the learning rate may follow.
  public let progress: Double

  /// - Parameters:
  ///   - index: counted from 0.
  ///   - settings: those of the training.
  ///   - learningRate: nil for that of a training of ``TrainingSettings/steps``.
  ///   - progress: likewise.
  public init(index: Int, settings: TrainingSettings, learningRate: Float? = nil, progress: Double? = nil) {
    self.index = index
    self.settings = settings
    self.progress = progress ?? min(1, Double(index) / Double(max(1, settings.steps)))
    self.learningRate =
      learningRate ?? settings.learningRate * settings.schedule(steps: settings.steps).factor(at: index)
  }

  /// The random numbers of some of this step's images, by their place in the run.
  ///
  /// - Parameters:
  ///   - purpose: tells draws of the same images apart; numbered by the model.
  ///   - images: the whole batch, or a part of it.
  public func draw(_ purpose: UInt32, for images: Batch) -> RandomDraw {
    RandomDraw(
      seed: settings.seed, stream: .noise, index: UInt64(index * settings.batchSize + images.first), draw: purpose)
  }

  /// Takes an optimizer step with the gradients that a component has gathered, and updates its average; leaves both as they are
  /// where the loss or a gradient is not finite.
  ///
  /// - Parameters:
  ///   - component: the network that is trained.
  ///   - loss: what the gradients are of.
  ///   - factor: multiplies the step's learning rate.
  /// - Returns: the gradient's norm; not a number where the step was given up, which then changes nothing.
  @discardableResult
  public func update(_ component: Component, loss: Float, rate factor: Float = 1) -> Float {
    guard let optimizer = component.optimizer else { fatalError("component \(component.name) is not being trained") }
    guard component.arena.backend.threads.carryThrough() else { return .nan }
    let steps = optimizer.stepCount
    let norm = optimizer.step(learningRate: factor * learningRate, loss: loss)
    if component.arena.average != nil, optimizer.stepCount > steps {
      MovingAverage(decay: settings.emaDecay).update(component.arena, number: component.averageUpdates)
      component.averageUpdates += 1
    }
    return norm
  }
}

/// What became of a training step.
package struct StepResult {
  package let metrics: Metrics
  /// What was not finite, as a parameter's gradient, with its component; nil where all was.
  package let nonFinite: String?
}

extension Model {
  /// A training step that leaves running statistics and ``Component/trainingState`` as they were where something of it is not
  /// finite: a batch that no optimizer followed must not show in later steps and pictures. Of several networks those whose own
  /// gradients were finite keep their step.
  ///
  /// - Parameter isUnwanted: looked at until the first network is changed: where it holds, the step is given up at once, and
  ///   nothing remains of it.
  /// - Returns: nil for a step that was given up.
  package func guardedStep(
    _ batch: Batch, _ step: TrainingStep, unless isUnwanted: @escaping @Sendable () -> Bool = { false }
  ) -> StepResult? {
    for component in components { component.optimizer?.nonFinite = nil }
    let kept = components.flatMap { $0.arena.buffers.map(\.value) + $0.trainingState.map(\.tensor) }
    let before = kept.map { $0.values() }
    let metrics = context.backend.threads.abandonable(when: isUnwanted) { trainingStep(batch, step) }
    let nonFinite = components.lazy.compactMap { component in
      component.optimizer?.nonFinite.map { component.name.isEmpty ? $0 : "\($0) (\(component.name))" }
    }.first
    if metrics == nil || nonFinite != nil {
      for (tensor, values) in zip(kept, before) { tensor.withMutableFloats { _ = $0.update(fromContentsOf: values) } }
    }
    guard let metrics else {
      for component in components {
        component.arena.zeroGradients()
        component.arena.forgetDerived()
      }
      return nil
    }
    return StepResult(metrics: metrics, nonFinite: nonFinite)
  }

  /// What work finds that changes nothing, as drawing or judging does; it is given up once nobody wants it any more.
  ///
  /// - Returns: nil where it was given up.
  package func unlessUnwanted<Result>(
    _ isUnwanted: @escaping @Sendable () -> Bool, _ work: () throws -> Result
  ) rethrows -> Result? {
    let result = try context.backend.threads.abandonable(when: isUnwanted, work)
    if result == nil { for component in components { component.arena.forgetDerived() } }
    return result
  }

  /// The name in checkpoints of the first number of the model that is an infinity or none at all, or whose average is.
  package var parameterWithoutFiniteValue: String? {
    components.lazy.compactMap { component in
      component.arena.parameterWithoutFiniteValue.map { component.prefix + $0 }
    }.first
  }

  /// Gives every component an optimizer and, where the settings ask for it, a moving average.
  public func prepareForTraining(_ settings: TrainingSettings) {
    for component in components {
      component.optimizer = Optimizer(
        component.arena, method: settings.optimizerMethod, weightDecay: settings.weightDecay,
        decaysVectors: settings.decayVectors, maximumGradientNorm: settings.clipNorm > 0 ? settings.clipNorm : nil)
      if settings.emaDecay > 0, !component.isForTrainingOnly { component.arena.startAverage() }
    }
  }
}

/// A model with one network and one loss, which is all that its training step needs.
public protocol SingleLossModel: Model {
  /// Told of each step before its loss is asked for; most losses are the same all along.
  func begin(_ step: TrainingStep)
  /// The mean loss of a batch and what else shall be reported.
  ///
  /// - Parameters:
  ///   - batch: images of the model's size and channels.
  ///   - tape: what the computation is recorded on; nil where no gradient is wanted.
  ///   - draw: the random numbers of a purpose for these images, numbered by the model.
  func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics)
}

extension SingleLossModel {
  public func begin(_ step: TrainingStep) {}

  /// Forward and backward over each part of the batch, whose gradients add up, then one optimizer step.
  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    begin(step)
    var metrics: Metrics = [:]
    for images in batch.parts(step.settings.accumulate) {
      let (tape, share) = (Tape(), images.share)
      let result = loss(images, on: tape) { step.draw($0, for: images) }
      metrics["loss", default: 0] += share * result.loss.value.item()
      for (name, value) in result.metrics { metrics[name, default: 0] += share * value }
      tape.backward(from: result.loss, seed: share)
    }
    metrics["gradient-norm"] = step.update(components[0], loss: metrics["loss"] ?? .nan)
    return metrics
  }

  public func validationLoss(_ batch: Batch) -> Float {
    let first = UInt64(batch.number) * 1_000_000
    return components[0].arena.withAverage {
      loss(batch, on: nil) { draw in
        RandomDraw(seed: 0, stream: .validation, index: first, draw: draw)
      }.loss.value.item()
    }
  }
}

extension Batch {
  /// The images as a tensor `[N, H, W, C]`, 0 the darkest and 1 the brightest, or −1 to 1 when `signed`.
  public func tensor(signed: Bool = false, on backend: any Backend) -> Tensor {
    backend.fromBytes(
      pixels, shape: [count, height, width, channels], scale: signed ? 2 / 255 : 1 / 255, shift: signed ? -1 : 0,
      type: .float32)
  }
}

extension Tensor {
  /// Values 0 to 1 as 8-bit levels; what lies outside is clipped.
  public func levels() -> [UInt8] { values().map(UInt8.init(level:)) }

  /// Images `[N, H, W, C]` with values 0 to 1 as 8-bit pictures; what lies outside is clipped.
  public func images() -> [Image] {
    let (height, width, channels) = (shape[1], shape[2], shape[3])
    let bytes = levels()
    let size = height * width * channels
    return (0..<shape[0]).map { index in
      Image(
        width: width, height: height, channels: channels, pixels: Array(bytes[index * size..<(index + 1) * size]))
    }
  }
}

extension Batch {
  /// Pictures of one size as a batch.
  public init(_ images: [Image], labels: [Int32]? = nil) {
    guard let first = images.first else { fatalError("a batch has at least one image") }
    self.init(
      number: 0, pixels: images.flatMap(\.pixels), labels: labels, count: images.count, width: first.width,
      height: first.height, channels: first.channels)
  }
}

extension UInt8 {
  /// The 8-bit level of a value from 0 to 1; what lies outside is clipped, and NaN is 0.
  public init(level value: Float) {
    self = UInt8(Swift.max(0, Swift.min(255, (value.isNaN ? 0 : value) * 255)).rounded())
  }
}
