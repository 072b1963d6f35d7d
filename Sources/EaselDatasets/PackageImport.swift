import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// A Debian package of data.
struct DebianPackage: Sendable {
  let name: String
  /// The folder of its data below the one it is unpacked into; an asterisk at the end stands for a version.
  let folder: String
  /// The size of the download, for people who wait: `31 MB`.
  let size: String

  /// The path of the package's data below a root, if they exist.
  func data(below root: String) -> String? {
    let path = root.appendingPathComponent(folder)
    guard path.hasSuffix("*") else { return path.isFolder ? path : nil }
    let parent = path.deletingLastPathComponent
    let names = (try? visibleNames(inFolder: parent)) ?? []
    return names.last { $0.hasPrefix(path.lastPathComponent.dropLast()) }.map(parent.appendingPathComponent)
  }
}

/// A package's files, wherever they were found.
struct UnpackedPackage {
  let package: DebianPackage
  /// The folder that contains `usr`.
  let root: String
  /// The folder of the data; the root itself if the package's folder is not below it.
  let data: String

  private var documentation: String { root.appendingPathComponent("usr/share/doc/\(package.name)") }

  /// The licences, as collected by Debian.
  ///
  /// - Throws: `UserError` (`missingInput`) if the file does not exist.
  func copyright() throws -> String {
    let path = documentation.appendingPathComponent("copyright")
    return String(decoding: try FileIO.read(path, maximumSize: 1 << 20), as: UTF8.self)
  }

  /// The package's name and version, from the first line of its changelog: `name (1.2-3) …`.
  var title: String {
    let path = documentation.appendingPathComponent("changelog.Debian.gz")
    guard let bytes = try? FileIO.read(path, maximumSize: 1 << 24),
      let start = try? Inflater(bytes, name: path).read(upToCount: 256),
      let version = String(decoding: start, as: UTF8.self).firstMatch(of: /\(([^)\s]+)\)/)
    else { return package.name }
    return "\(package.name) \(version.1)"
  }
}

/// Imports a data set from Debian packages into a `Data` folder. Tests can replace its surroundings: the root below
/// which packages are installed, and the folders of programs.
package struct PackageImport {
  private let installedRoot: String
  private let programFolders: [String]

  package init(installedRoot: String = "/", programFolders: [String] = Self.programFoldersOfEnvironment) {
    self.installedRoot = installedRoot
    self.programFolders = programFolders
  }

  package static var programFoldersOfEnvironment: [String] {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
  }

  /// Makes `dataFolder/name`, completely or not at all.
  ///
  /// - Parameters:
  ///   - source: a folder into which the packages were unpacked. Without it, installed packages are used; others are
  ///     fetched with `apt-get` and unpacked in a temporary folder. Nothing in them is run.
  ///   - build: makes the data set in a folder from the packages.
  /// - Returns: the new folder's path.
  /// - Throws: `UserError`: `cannotCreate` if the data set already exists or cannot be written, `unavailable` if a
  ///   package cannot be fetched, and what `build` throws.
  func run(
    _ name: String, packages: [DebianPackage], from source: String?, into dataFolder: String,
    progress: (String) -> Void, build: (_ packages: [UnpackedPackage], _ folder: String) throws -> Void
  ) throws -> String {
    try creatingFolder(dataFolder.appendingPathComponent(name)) { temporary, staging in
      let unpacked = try packages.map { package in
        let root =
          try source ?? (package.data(below: installedRoot) == nil ? nil : installedRoot)
          ?? fetch(package, of: packages, as: name, into: temporary, progress: progress)
        return UnpackedPackage(package: package, root: root, data: package.data(below: root) ?? root)
      }
      try build(unpacked, staging)
      progress("Checking the files")
      for (member, path) in try datasets(named: name, at: staging) {
        let splits = try datasetFormat(at: path).splits(name: member, imageSize: nil, fit: .crop)
        progress("\(member): \(splits.train.count) images for training, \(splits.validation.count) for validation")
      }
    }
  }

  private func fetch(
    _ package: DebianPackage, of packages: [DebianPackage], as name: String, into folder: String,
    progress: (String) -> Void
  ) throws -> String {
    let names = packages.map(\.name)
    let unpacking = names.map { " && dpkg -x \($0)_*.deb \(name)" }.joined()
    let hint = """
      If apt-get does not know it, apt-get update first. Or run these where there is a network, then import from the folder: \
      apt-get download \(names.joined(separator: " "))\(unpacking)
      """
    progress("Fetching the Debian package \(package.name) (\(package.size))")
    try ExternalCommand(name: "apt-get", searchPath: programFolders)
      .run(["download", package.name], in: folder, hint: hint)
    let archives = try visibleNames(inFolder: folder)
    guard let archive = archives.first(where: { $0.hasPrefix("\(package.name)_") && $0.hasSuffix(".deb") }) else {
      throw UserError(.unavailable, "apt-get download \(package.name) left no .deb file", hint: hint)
    }
    progress("Unpacking \(archive)")
    // It runs in the folder, from where a relative path would lead elsewhere.
    let root = "root-\(package.name)"
    try ExternalCommand(name: "dpkg", searchPath: programFolders).run(["-x", archive, root], in: folder, hint: hint)
    return folder.appendingPathComponent(root)
  }
}

/// Makes a folder, completely or not at all.
///
/// - Parameter build: receives a temporary folder for its own use, which is deleted, and in it the folder to fill.
/// - Returns: `target`.
/// - Throws: `UserError` (`cannotCreate`) if something already exists at `target` or if it cannot be created, and what
///   `build` throws.
func creatingFolder(
  _ target: String, _ build: (_ temporary: String, _ staging: String) throws -> Void
) throws -> String {
  func creating(_ make: () throws -> Void) throws {
    do {
      try make()
    } catch {
      throw UserError(.cannotCreate, "\(target): cannot be created (\(error.reason))")
    }
  }
  guard !FileManager.default.fileExists(atPath: target) else {
    throw UserError(.cannotCreate, "\(target): is there already", hint: "Delete it first to make it again.")
  }
  // The temporary folder is beside the target, so that moving the result there is a rename.
  let token = String(UInt64.random(in: 0...UInt64.max), radix: 16)
  let name = target.lastPathComponent
  let temporary = target.deletingLastPathComponent.appendingPathComponent(".\(name).\(token).partial")
  let staging = temporary.appendingPathComponent(name)
  try creating { try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: true) }
  defer { try? FileManager.default.removeItem(atPath: temporary) }
  try build(temporary, staging)
  try creating { try FileManager.default.moveItem(atPath: staging, toPath: target) }
  return target
}
