import EaselRunStorage
import EaselSupport

/// A setting that changes nothing beside the other values.
public struct IdleSetting: Sendable {
  public let key: String
  /// What it takes to count, as one would set it: `optimizer=sgd`.
  public let need: String
}

/// Gathers which settings change nothing beside the others: each need is stated once, with the key that has it.
struct SettingNeeds<Key: CodingKey> {
  private(set) var idle: [IdleSetting] = []

  /// States that keys count only where a condition holds.
  mutating func callAsFunction(_ keys: Key..., need isMet: Bool, _ need: String) {
    if !isMet { idle += keys.map { IdleSetting(key: $0.stringValue, need: need) } }
  }
}

extension TrainingSettings {
  /// Settings that change nothing beside the others.
  public var idle: [IdleSetting] {
    var settings = SettingNeeds<CodingKeys>()
    let isAdam = optimizer == .adam || optimizer == .adamw
    settings(.momentum, need: optimizer == .sgd || optimizer == .rmsprop, "optimizer=sgd or optimizer=rmsprop")
    settings(.nesterov, need: optimizer == .sgd && momentum > 0, "optimizer=sgd and a momentum")
    settings(.beta1, .beta2, need: isAdam, "optimizer=adam or optimizer=adamw")
    settings(.epsilon, need: optimizer != .sgd, "optimizer=adam, adamw or rmsprop")
    settings(.decayVectors, need: weightDecay > 0, "a weight-decay")
    settings(.scheduleSteps, need: learningRateDecay != .constant || warmupSteps > 0, "a learning-rate-decay")
    return settings.idle
  }
}

extension AnyPreset {
  /// Makes sure that what a person has set counts: what they gave with an option is refused where it changes nothing, and what
  /// stands in a file, which may hold every key, is told.
  ///
  /// - Parameters:
  ///   - base: the settings before.
  ///   - tell: told what is of no effect in a file.
  /// - Throws: `UserError` (usage) with the key and what it takes to count.
  public func requireEffects(
    of document: ConfigurationDocument, over base: ConfigurationDocument, tell: (String) -> Void
  ) throws {
    let idle = try Dictionary(idle(in: document).map { ($0.key, $0.need) }, uniquingKeysWith: { first, _ in first })
    for change in document.changes(from: base) {
      guard let need = idle[change.key] else { continue }
      let message = "\(change.key): \(change.value) would change nothing: that takes \(need) (\(change.origin))"
      if change.origin.hasPrefix("--") { throw UserError(.usage, message, hint: "Leave it out, or set that too.") }
      tell(message)
    }
  }
}

extension ConfigurationDocument {
  /// The settings of a run that goes on with others.
  ///
  /// - Parameter changes: `KEY=VALUE`.
  /// - Throws: `UserError` (usage) with the key for what there is not, what changes nothing, and what a run is made of.
  public func changed(_ changes: [String], for preset: AnyPreset) throws -> ConfigurationDocument {
    var document = self
    for change in changes {
      try document.set(change)
      let key = String(change.prefix { $0 != "=" })
      guard let setting = TrainingSettings.CodingKeys(stringValue: key), setting.canChange else {
        let free = TrainingSettings.CodingKeys.allCases.filter(\.canChange).map(\.stringValue)
        throw UserError(
          .usage, "--set \(key): a run cannot go on with another \(key)",
          hint: "What can be changed: \(free.joined(separator: ", ")). Or start a new run with --from.")
      }
    }
    let (before, now) = (try decode(TrainingSettings.self), try document.decode(TrainingSettings.self))
    if (before.emaDecay > 0) != (now.emaDecay > 0) {
      throw UserError(
        .usage, "--set ema-decay: a moving average is neither begun nor ended in the middle of a run",
        hint: "Start a new run with --from.")
    }
    try preset.requireEffects(of: document, over: self) { _ in }
    return document
  }
}

extension TrainingSettings.CodingKeys {
  /// Whether a run can go on with another value: not where its images, its random numbers or its optimizer's state hang on it.
  var canChange: Bool {
    switch self {
    case .seed, .batchSize, .optimizer, .momentum, .precision: false
    default: true
    }
  }
}
