import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// What is known about a data set without reading all of it.
public struct DatasetSummary: Sendable, Equatable {
  /// Images for training and validation together.
  public let count: Int
  /// The size of the first image; pictures in a folder may differ.
  public let imageSize: ImageSize
  /// 1 (grey) or 3, according to the first image.
  public let channels: Int
  /// In the order of their indices; empty without labels.
  public let classNames: [String]
}

/// A way of storing a data set on disk.
protocol DatasetFormat {
  /// Reads just enough for a summary.
  func summary() throws -> DatasetSummary

  /// Reads everything. Images are brought to `imageSize`, if it is given, as `fit` says.
  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits
}

/// Determines how a path stores its data: IDX files, CIFAR batches, sheets, or a folder of pictures, in which
/// unreadable ones may be skipped.
///
/// - Throws: `UserError`: `missingInput` if there is nothing at the path, `usage` if it holds several data sets,
///   `badData` if it is no data set.
func datasetFormat(at path: String, skippingBroken: Bool = false) throws -> any DatasetFormat {
  if let (folder, domain) = domain(at: path) {
    return ImageFolderFormat(path: folder, domain: domain, skipsBroken: skippingBroken)
  }
  guard path.existsAsFile else { throw UserError(.missingInput, "\(path): no such file or folder") }
  guard path.isFolder else {
    return CIFARFormat.isNamedAsBatch(path.lastPathComponent) ? CIFARFormat(file: path) : IDXFormat(file: path)
  }
  let names = try visibleNames(inFolder: path)
  if SheetFormat.accepts(path, names: names) { return SheetFormat(folder: path) }
  if names.contains(where: IDXFormat.isImageFile) { return try IDXFormat(folder: path, names: names) }
  if CIFARFormat.accepts(path, names: names) { return CIFARFormat(folder: path, names: names) }
  let members = try datasets(named: path, at: path).map(\.name)
  if ImageFolderFormat.holdsTwoDomains(path, names: names) { throw holdsTwoDomains(path, members) }
  guard members == [path] else {
    throw UserError(
      .usage, "\(path): a folder of data sets, expected one of them",
      hint: "Name one of them: \(members.joined(separator: ", ")).")
  }
  return ImageFolderFormat(path: path, skipsBroken: skippingBroken)
}

func holdsTwoDomains(_ name: String, _ members: [String]) -> UserError {
  UserError(
    .usage, "\(name): two data sets to translate between, expected one of them",
    hint:
      "Both: easel train cyclegan \(field: "data") \(name). One: \(field: "data") \(members.joined(separator: " or \(field: "data") "))."
  )
}

/// The data sets that a folder holds, sorted: the folder itself; or its sub-folders, named `name/sub-folder`, if they
/// are data sets in their own right; or its two domains, named `name/A` and `name/B`.
func datasets(named name: String, at folder: String) throws -> [(name: String, path: String)] {
  let names = try visibleNames(inFolder: folder)
  if isDataset(folder, names: names) { return [(name, folder)] }
  if ImageFolderFormat.holdsTwoDomains(folder, names: names) {
    return ImageFolderFormat.domains.map { ("\(name)/\($0)", folder.appendingPathComponent($0)) }
  }
  // Do not ask about each picture in a folder of very many.
  let members = names.filter { !ImageFolderFormat.isNamedAsImage($0) }
    .map { (name: "\(name)/\($0)", path: folder.appendingPathComponent($0)) }
    .filter { member in
      // If a folder cannot be read, the reader of the pictures reports it.
      member.path.isFolder
        && (try? visibleNames(inFolder: member.path)).map { isDataset(member.path, names: $0) } == true
    }
  return members.isEmpty ? [(name, folder)] : members
}

/// The folder and the domain that `folder/A` names, if it does not exist but `folder/trainA` and `folder/trainB` do.
func domain(at path: String) -> (folder: String, domain: String)? {
  let (folder, domain) = (path.deletingLastPathComponent, path.lastPathComponent)
  guard ImageFolderFormat.domains.contains(domain), !path.existsAsFile, folder.isFolder,
    let names = try? visibleNames(inFolder: folder), ImageFolderFormat.holdsTwoDomains(folder, names: names)
  else { return nil }
  return (folder, domain)
}

/// Whether a folder can be nothing but a data set. A folder of pictures could also be a class of another one.
private func isDataset(_ folder: String, names: [String]) -> Bool {
  SheetFormat.accepts(folder, names: names) || names.contains(where: IDXFormat.isImageFile)
    || CIFARFormat.accepts(folder, names: names) || ImageFolderFormat.parts(of: folder, names: names) != nil
}

/// Class names from a text file beside the data, one line for each index from 0.
///
/// - Throws: `UserError` (`badData`) if there are fewer names than the labels need.
func classNames(inFolder folder: String, candidates: [String], labels: [UInt8]) throws -> [String] {
  let needed = Int(labels.max() ?? 0) + 1
  let files = candidates.map(folder.appendingPathComponent)
  for file in files where file.existsAsFile {
    let text = String(decoding: try FileIO.read(file, maximumSize: 1 << 20), as: UTF8.self)
    let names = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty }
    guard names.count >= needed else {
      throw UserError(.badData, "\(file): expected at least \(needed) class names, found \(names.count)")
    }
    return names
  }
  return (0..<needed).map(String.init)
}

/// The parts one after the other, in memory allocated once.
func concatenated(_ parts: some Collection<[UInt8]>) -> [UInt8] {
  var whole: [UInt8] = []
  whole.reserveCapacity(parts.reduce(0) { $0 + $1.count })
  for part in parts { whole += part }
  return whole
}
