import EaselSupport
import Foundation

/// How long to train. At most one field is set; with none, training goes to the end of the run or of its settings'
/// steps.
public struct TrainingLength: DeclaredFields {
  public var steps: Int?
  public var epochs: Double?
  public var minutes: Double?

  public init() {}

  public static let fields: [Field<TrainingLength>] = [
    Field("steps", \.steps, .from(1, to: 1e9), "Stop after this many steps, counted from the run's beginning."),
    Field("epochs", \.epochs, .above(0, below: 1e9), "Stop after this many passes over the images."),
    Field(
      "minutes", \.minutes, .above(0, below: 1e9),
      "Stop after this many minutes, including the last picture and checkpoint."),
  ]

  public func check(_ check: inout FieldCheck) {
    check.require(
      [steps != nil, epochs != nil, minutes != nil].filter { $0 }.count <= 1,
      "\(field: "steps"), \(field: "epochs") and \(field: "minutes"): expected one of them")
  }

  /// - Parameter start: when the request was made. Minutes count from there.
  func limit(_ trainer: Trainer, since start: ContinuousClock.Instant) -> TrainingLimit {
    if let minutes {
      let gone = (ContinuousClock.now - start) / .seconds(1)
      return TrainingLimit(seconds: max(0, 60 * minutes - gone))
    }
    if let epochs {
      let images = Double(trainer.state.data.trainingImages) * epochs
      return TrainingLimit(steps: Int((images / Double(trainer.settings.batchSize)).rounded(.up)))
    }
    return steps.map { TrainingLimit(steps: $0) } ?? trainer.remainder
      ?? TrainingLimit(steps: trainer.settings.steps)
  }
}
