import EaselRunStorage
import EaselSupport

extension AnyPreset {
  /// Makes sure that what a person has set counts: what they gave with an option is refused where it changes nothing, and what
  /// stands in a file, which may hold every key, is told.
  ///
  /// - Parameters:
  ///   - document: the settings.
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
      if case .field = change.origin { throw UserError(.usage, message, hint: "Leave it out, or set that too.") }
      tell(message)
    }
  }
}

extension ConfigurationDocument {
  /// The settings of a run that goes on with others.
  ///
  /// - Parameters:
  ///   - changes: `KEY=VALUE`.
  ///   - preset: the run's.
  /// - Throws: `UserError` (usage) with the key for what there is not, what changes nothing, and what a run is made of.
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
