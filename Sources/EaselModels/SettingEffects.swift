import EaselRunStorage
import EaselSupport

extension AnyPreset {
  /// Makes sure that the settings a person has made have an effect. Those from options are refused if they change
  /// nothing; those from a file, which may contain every key, are reported.
  ///
  /// - Parameters:
  ///   - document: the settings.
  ///   - base: the settings before.
  ///   - tell: receives what has no effect in a file.
  /// - Throws: `UserError` (usage) with the key and what it would take to have an effect.
  public func requireEffects(
    of document: ConfigurationDocument, over base: ConfigurationDocument, tell: (String) -> Void
  ) throws {
    let idle = try Dictionary(idle(in: document).map { ($0.key, $0.need) }, uniquingKeysWith: { first, _ in first })
    for change in document.changes(from: base) {
      guard let need = idle[change.key] else { continue }
      let message = "\(change.key): \(change.value) would change nothing without \(need) (\(change.origin))"
      if case .field = change.origin { throw UserError(.usage, message, hint: "Leave it out, or set that too.") }
      tell(message)
    }
  }
}

extension ConfigurationDocument {
  /// The settings of a run that goes on with changes.
  ///
  /// - Parameters:
  ///   - changes: `KEY=VALUE`.
  ///   - preset: the run's preset.
  /// - Throws: `UserError` (usage) with the key, for unknown keys, for what changes nothing, and for what a run cannot
  ///   change.
  public func changed(_ changes: [String], for preset: AnyPreset) throws -> ConfigurationDocument {
    var document = self
    for change in changes {
      try document.set(change)
      let key = String(change.prefix { $0 != "=" })
      let free = TrainingSettings.fields.filter { !$0.isFixed }.map(\.key)
      guard free.contains(key) else {
        throw UserError(
          .usage, "\(field: "set") \(key): a run cannot go on with another \(key)",
          hint: "What can be changed: \(free.joined(separator: ", ")). Or start a new run with \(field: "from").")
      }
    }
    let (before, now) = (try decode(TrainingSettings.self), try document.decode(TrainingSettings.self))
    if (before.emaDecay > 0) != (now.emaDecay > 0) {
      throw UserError(
        .usage, "\(field: "set") ema-decay: a moving average is neither begun nor ended in the middle of a run",
        hint: "Start a new run with \(field: "from").")
    }
    try preset.requireEffects(of: document, over: self) { _ in }
    return document
  }
}
