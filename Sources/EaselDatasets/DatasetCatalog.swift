import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// Finds data sets by name or path: a name is a folder in `Data/` of one of the search roots, the first one that has it.
///
/// A folder of several data sets has none of its own name; theirs are `folder/member`.
public struct DatasetCatalog: Sendable {
  /// The folder of data sets below each root.
  public static let folderName = "Data"

  /// What `easel data import` can bring here.
  public static let importableNames = [FashionMNIST.name, Emoji.name, Emoji.stylesName]

  /// Folders that hold a `Data` folder (the workspace, then where the program is installed), first come first served.
  public let searchRoots: [String]

  public init(searchRoots: [String]) { self.searchRoots = searchRoots }

  /// One data set that is there.
  public struct Entry: Sendable {
    public let name: String
    public let path: String
    /// A LICENSE, COPYING or COPYRIGHT file lies beside the data.
    public let hasLicense: Bool
    /// What it holds, or what is wrong with it.
    public let contents: Result<DatasetSummary, UserError>
  }

  /// Reads a data set; images become `imageSize` if it is given, as `fit` says. `skippingBroken` leaves out pictures of a folder that cannot be
  /// read, and lists them.
  ///
  /// `nameOrPath` is the name of a data set in the catalogue, or else the path of a folder of IDX files, of CIFAR
  /// batches, of sheets or of pictures, or of one IDX file or CIFAR batch.
  ///
  /// - Throws: `UserError`: `missingInput` when there is neither (with the names there are), `usage` when it is a
  ///   folder of several data sets, `badData` with the path of the file that is broken.
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

  /// The two data sets of a folder that is laid out as CycleGAN's data are, by name or path; nil for any other.
  public func domains(of nameOrPath: String) -> [String]? {
    let members = ImageFolderFormat.domains.map { "\(nameOrPath)/\($0)" }
    let paths = members.compactMap(find)
    return paths.count == members.count && paths.allSatisfy { domain(at: $0) != nil } ? members : nil
  }

  /// The names of the data sets, sorted.
  public var names: [String] { namedFolders().map(\.name).sorted() }

  /// Where a named data set lies, or the path itself; throws `UserError` (`missingInput`) when there is neither.
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

  /// The data sets that can be named, sorted; a broken one is listed with what is wrong with it.
  ///
  /// Of a folder of pictures only the first is opened.
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
      // A root without a Data folder has nothing to offer, which is no error.
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
