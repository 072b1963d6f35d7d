import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// Finds data sets by name or path. A name is a folder in `Data/` of one of the search roots; the first root that has
/// it wins.
///
/// A folder of several data sets is no data set itself; their names are `folder/member`.
public struct DatasetCatalog: Sendable {
  /// The folder of data sets below each root.
  public static let folderName = "Data"

  /// What `easel data import` can bring here.
  public static let importableNames = [FashionMNIST.name, Emoji.name, Emoji.stylesName]

  /// Folders that hold a `Data` folder (the workspace, then the place where the program is installed), in order of
  /// priority.
  public let searchRoots: [String]

  public init(searchRoots: [String]) { self.searchRoots = searchRoots }

  /// A data set in the catalogue.
  public struct Entry: Sendable {
    public let name: String
    public let path: String
    /// Whether a LICENSE, COPYING or COPYRIGHT file is beside the data.
    public let hasLicense: Bool
    /// Its contents, or what is wrong with it.
    public let contents: Result<DatasetSummary, UserError>
  }

  /// Reads a data set. Images are brought to `imageSize`, if it is given, as `fit` says. `skippingBroken` leaves out
  /// and lists pictures of a folder that cannot be read.
  ///
  /// `nameOrPath` is the name of a data set in the catalogue, or otherwise the path of a folder of IDX files, CIFAR
  /// batches, sheets or pictures, or of a single IDX file or CIFAR batch.
  ///
  /// - Throws: `UserError`: `missingInput` if neither exists (with the known names), `usage` if it is a folder of
  ///   several data sets, `badData` with the path of a broken file.
  public func resolve(
    _ nameOrPath: String, imageSize: ImageSize? = nil, fit: ImageFit = .crop, skippingBroken: Bool = false
  ) throws -> DatasetSplits {
    let path = try path(of: nameOrPath)
    let isNamed = namedFolders().contains { $0.name == nameOrPath }
    let whole = URL(fileURLWithPath: path).standardizedFileURL.path
    let name =
      if isNamed {
        nameOrPath
      } else if let (folder, domain) = domain(at: path) {
        "\(folder.lastPathComponent)/\(domain)"
      } else {
        whole.lastPathComponent.escapingStrayBytes
      }
    return try datasetFormat(at: path, skippingBroken: skippingBroken).splits(
      name: name, imageSize: imageSize, fit: fit)
  }

  /// The two data sets in a folder with the layout of CycleGAN's data, by name or path; nil for any other folder.
  public func domains(of nameOrPath: String) -> [String]? {
    let members = ImageFolderFormat.domains.map { "\(nameOrPath)/\($0)" }
    let paths = members.compactMap(find)
    return paths.count == members.count && paths.allSatisfy { domain(at: $0) != nil } ? members : nil
  }

  /// The names of the data sets, sorted.
  public var names: [String] { namedFolders().map(\.name).sorted() }

  /// The path of a named data set, or the path itself; throws `UserError` (`missingInput`) if neither exists.
  public func path(of nameOrPath: String) throws -> String {
    if let path = find(nameOrPath) { return path }
    let names = namedFolders().map(\.name)
    let members = names.filter { !nameOrPath.isEmpty && $0.hasPrefix("\(nameOrPath)/") }
    if domains(of: nameOrPath) != nil { throw holdsTwoDomains(nameOrPath, members) }
    if !members.isEmpty {
      throw UserError(
        .usage, "data “\(nameOrPath)”: a folder of data sets, expected one of them",
        hint: "Name one of them: \(members.joined(separator: ", ")).")
    }
    let known = names.isEmpty ? "There are none yet." : "Known: \(names.joined(separator: ", "))."
    if let importable = Self.importableNames.first(where: { nameOrPath == $0 || nameOrPath.hasPrefix("\($0)/") }) {
      throw UserError(
        .missingInput, "data “\(nameOrPath)”: it is not here yet",
        hint: "Bring it here with: easel data import \(importable). \(known)")
    }
    let suggestion = nearestName(to: nameOrPath, among: names).map { "Did you mean \($0)? " } ?? ""
    throw UserError(
      .missingInput, "data “\(nameOrPath)”: no data set of this name, and no such file or folder",
      hint: "\(suggestion)\(known) Import one with easel data import, or give the path of a folder of images.")
  }

  private func find(_ nameOrPath: String) -> String? {
    if let named = namedFolders().first(where: { $0.name == nameOrPath }) { return named.path }
    let isThere = !nameOrPath.isEmpty && (nameOrPath.existsAsFile || domain(at: nameOrPath) != nil)
    return isThere ? nameOrPath : nil
  }

  /// The data sets that can be named, sorted; broken ones are listed with what is wrong with them.
  ///
  /// Of a folder of pictures, only the first is opened.
  public func entries() -> [Entry] {
    namedFolders().sorted { $0.name < $1.name }.map { folder in
      let contents: Result<DatasetSummary, UserError>
      do {
        contents = .success(try datasetFormat(at: folder.path).summary())
      } catch let error as UserError {
        contents = .failure(error)
      } catch {
        contents = .failure(UserError(.inputOutput, "\(folder.path): \(error.reason)"))
      }
      return Entry(
        name: folder.name, path: folder.path, hasLicense: Self.holdsLicense(folder.path), contents: contents)
    }
  }

  private func namedFolders() -> [(name: String, path: String)] {
    var found: [(name: String, path: String)] = []
    for root in searchRoots.map({ $0.appendingPathComponent(Self.folderName) }) {
      // A root without a Data folder has no data sets, which is no error.
      for name in (try? visibleNames(inFolder: root)) ?? [] {
        let path = root.appendingPathComponent(name)
        guard path.isFolder else { continue }
        let members = (try? datasets(named: name, at: path)) ?? [(name, path)]
        found += members.filter { member in !found.contains { $0.name == member.name } }
      }
    }
    return found
  }

  private static func holdsLicense(_ folder: String) -> Bool {
    ((try? visibleNames(inFolder: folder)) ?? []).contains(where: isNamedAsLicense)
  }
}

/// Whether a file's name says that it holds the data's licence.
func isNamedAsLicense(_ name: String) -> Bool {
  ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT"].contains { name.uppercased().hasPrefix($0) }
}
