import Foundation

/// Shortens a machine's paths in checkpoints and pictures, which may be passed on. Of a path inside the workspace, the
/// part from there remains; of any other path, only the last component. The run's folder records where its data are on
/// this machine, see `RunFolder.dataPlaces`.
public struct HandedOn {
  private let workspace: String

  public init(workspace: String) { self.workspace = URL(fileURLWithPath: workspace).resolvingSymlinksInPath().path }

  /// For a checkpoint's contents: its workspace is the one with its `Checkpoints/<run>/<step>`.
  init(_ checkpoint: CheckpointFolder) {
    self.init(
      workspace: (0..<3).reduce(URL(fileURLWithPath: checkpoint.path)) { url, _ in url.deletingLastPathComponent() }
        .path)
  }

  /// A shortened path, or the word itself if it is not a path.
  public func path(_ word: String) -> String {
    guard word.hasPrefix("/") || word.hasPrefix("~") || word.split(separator: "/").contains("..") else { return word }
    let path = URL(fileURLWithPath: word).resolvingSymlinksInPath().path
    if path.hasPrefix(workspace + "/") { return String(path.dropFirst(workspace.count + 1)) }
    return URL(fileURLWithPath: word).standardizedFileURL.lastPathComponent
  }

  /// A command line's words as a shell takes them; their values may be paths.
  public func command(_ words: [String]) -> String {
    words.map { word in
      guard let equals = word.firstIndex(of: "=") else { return HandedOn.quoted(path(word)) }
      let value = word.index(after: equals)
      return HandedOn.quoted(word[..<value] + path(String(word[value...])))
    }.joined(separator: " ")
  }

  private static func quoted(_ word: String) -> String {
    if word.wholeMatch(of: /[A-Za-z0-9_@%+=:,.\/-]+/) != nil { return word }
    return "'" + word.replacing("'", with: #"'\''"#) + "'"
  }

  /// A record of data. The folder of data sets is the same in every workspace.
  func record(_ data: RunState.DataRecord) -> RunState.DataRecord {
    var data = data
    let places = ["/\(DatasetCatalog.folderName)/\(data.name)", "/\(data.name)/"]
    let isRelative = path(data.source) == data.source
    if !isRelative, let place = places.compactMap({ data.source.range(of: $0, options: .backwards) }).first {
      data.source = String(data.source[place.lowerBound...].dropFirst())
    } else {
      data.source = path(data.source)
    }
    data.counterparts = data.counterparts?.map(record)
    return data
  }

  /// Settings, in which data and parts may be paths.
  func configuration(_ configuration: ConfigurationDocument, of preset: AnyPreset) throws -> ConfigurationDocument {
    var configuration = configuration
    let run = try configuration.decode(RunDescription.self)
    let parts = preset.family.parts.map { ($0.name, configuration.text(of: $0.name) ?? "") }
    for (key, name) in [("data", run.data), ("data-b", run.dataB ?? "")] + parts where path(name) != name {
      try configuration.set(key, to: path(name), origin: .place(key))
    }
    return configuration
  }
}
