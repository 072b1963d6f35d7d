import EaselTensors
import Foundation

/// How a run ended or whether it is running: `status.json` in its folder.
public struct RunStatus: Codable, Sendable, Equatable {
  public enum Outcome: String, Codable, Sendable {
    case running, complete
    /// Stopped by a signal, or because the process or the machine ended.
    case stopped
    case failed
  }

  public var outcome: Outcome
  /// Why the run failed, in one line.
  public var message: String?

  public init(_ outcome: Outcome, message: String? = nil) {
    (self.outcome, self.message) = (outcome, message)
  }
}

extension RunFolder {
  /// Writes a run's settings into its folder, for readers before the first checkpoint.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(configuration: String) throws { try FileSystem.replace("\(path)/config.yaml", with: configuration) }

  private var placesPath: String { "\(path)/data-places.json" }

  /// Where the run's data are on this machine, by the setting that names them, for data that are not a workspace's data
  /// set. No checkpoint contains this, since the paths are of no use to others. If it cannot be read, it is empty.
  public var dataPlaces: [String: String] {
    guard let data = try? FileSystem.read(placesPath, limit: 1 << 16) else { return [:] }
    return (try? JSONDecoder().decode([String: String].self, from: data)) ?? [:]
  }

  /// - Parameter dataPlaces: the paths of the first and the second data set; nil for one that is found by its name.
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

  /// The run's status; nil if there is none, or none that can be read.
  public var status: RunStatus? {
    guard let data = try? FileSystem.read(statusPath, limit: 1 << 16),
      var status = try? JSONDecoder().decode(RunStatus.self, from: data)
    else { return nil }
    // Its process had no time to record that it ended.
    if status.outcome == .running, !isBeingTrained { status.outcome = .stopped }
    return status
  }
}
