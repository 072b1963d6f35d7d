import EaselTensors
import Foundation

/// What became of a run: `status.json` in its folder.
public struct RunStatus: Codable, Sendable, Equatable {
  public enum Outcome: String, Codable, Sendable {
    case running, complete
    /// By a signal, or because the process or the machine ended.
    case stopped
    case failed
  }

  public var outcome: Outcome
  /// Why it failed, in one line.
  public var message: String?

  public init(_ outcome: Outcome, message: String? = nil) {
    (self.outcome, self.message) = (outcome, message)
  }
}

extension RunFolder {
  /// Puts the settings of a run into its folder, for whoever looks there before it has a checkpoint.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(configuration: String) throws { try FileSystem.replace("\(path)/config.yaml", with: configuration) }

  private var placesPath: String { "\(path)/data-places.json" }

  /// Where the run's data lie on this machine, by the setting that names them: for what is no data set of a workspace. It is in no
  /// checkpoint, since nobody else has these places. Nothing that can be read is no place.
  public var dataPlaces: [String: String] {
    guard let data = try? FileSystem.read(placesPath, limit: 1 << 16) else { return [:] }
    return (try? JSONDecoder().decode([String: String].self, from: data)) ?? [:]
  }

  /// - Parameter dataPlaces: of the first data set and the second, nil for one that is found by its name.
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(dataPlaces: [String?]) throws {
    var places: [String: String] = [:]
    for (key, place) in zip(["data", "data-b"], dataPlaces) { places[key] = place }
    if places == self.dataPlaces { return }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try FileSystem.replace(placesPath, with: String(decoding: try encoder.encode(places), as: UTF8.self) + "\n")
  }

  private var statusPath: String { "\(path)/status.json" }

  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(_ status: RunStatus) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let text = (try? encoder.encode(status)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    try FileSystem.replace(statusPath, with: text + "\n")
  }

  /// What became of the run; nil where nothing is written of it, or nothing that can be read.
  public var status: RunStatus? {
    guard let data = try? FileSystem.read(statusPath, limit: 1 << 16),
      var status = try? JSONDecoder().decode(RunStatus.self, from: data)
    else { return nil }
    // Its process had no time to say that it ended.
    if status.outcome == .running, !isBeingTrained { status.outcome = .stopped }
    return status
  }
}
