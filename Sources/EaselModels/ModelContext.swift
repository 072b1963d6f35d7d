import EaselDatasets
import EaselLayers
import EaselText

/// What a model needs to know about its data.
public struct DataDescription: Sendable, Hashable, Codable {
  public var width, height, channels: Int
  /// The labels' names; empty if the data have none.
  public var classNames: [String]
  /// The numbers of the classes without training images; nil for none.
  public var untrainedClasses: [Int]?

  public init(width: Int, height: Int, channels: Int, classNames: [String] = []) {
    self.width = width
    self.height = height
    self.channels = channels
    self.classNames = classNames
  }

  /// - Parameter dataset: the training images.
  public init(_ dataset: ImageDataset) {
    self.init(
      width: dataset.width, height: dataset.height, channels: dataset.channels,
      classNames: dataset.labels == nil ? [] : dataset.classNames)
    let counts = dataset.classCounts
    let untrained = counts.indices.filter { counts[$0] == 0 }
    if !untrained.isEmpty { untrainedClasses = untrained }
  }

  /// The numbers of the classes that a model can have learned.
  public var trainedClasses: [Int] {
    let untrained = Set(untrainedClasses ?? [])
    let trained = classNames.indices.filter { !untrained.contains($0) }
    return trained.isEmpty ? Array(classNames.indices) : trained
  }

  /// Some of the classes' names for people, but not thousands.
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
  /// The models of other checkpoints that the family's ``ModelFamily/parts`` need, by name. They are not trained.
  public let parts: [String: any Model]
  /// What the model knows of texts; nil for a model that reads none.
  public let vocabulary: Vocabulary?

  public init(
    backend: any Backend, type: ScalarType, seed: UInt64, data: DataDescription, parts: [String: any Model] = [:],
    vocabulary: Vocabulary? = nil
  ) {
    self.backend = backend
    self.type = type
    self.seed = seed
    self.data = data
    self.parts = parts
    self.vocabulary = vocabulary
  }
}
