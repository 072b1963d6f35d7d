import EaselSupport
import EaselTensors

/// A `.bin`, `.pt` or `.pth` file that `torch.save` wrote of a state dictionary, since PyTorch 1.6: a zip file with a
/// pickle and the tensors' bytes. Its parts are checked on opening, and tensors are read on demand.
///
/// Nothing in the file is run: `Pickle` knows only what tensors need.
public final class PyTorchReader: TensorFile {
  /// Where a tensor's first element is in the file, and its strides in elements.
  private struct Layout {
    let start: Int
    let strides: [Int]
    /// The elements from the first to the last, with those between that do not belong to the tensor.
    let span: Int
  }

  public let path: String
  public let entries: [String: TensorEntry]

  private let file: OpenFile
  private let layouts: [String: Layout]

  /// Opens a file and checks its directory, its pickle and the place of each tensor.
  ///
  /// The tensors are those of the dictionary that the file holds, or of the dictionary under its key `state_dict`; what
  /// else there is in it (numbers, texts) is passed over.
  ///
  /// - Throws: `UserError(.badData)` with the path and the place if the file is malformed, has anything but tensors and
  ///   plain values, or was written before PyTorch 1.6; `.missingInput` if there is no file; `.inputOutput` if it cannot
  ///   be read.
  public init(path: String) throws {
    self.path = path
    file = try OpenFile(path, for: .reading)
    let size = try file.size()
    let beginning = try file.bytes(0..<min(size, 2))
    guard beginning == Array("PK".utf8) else {
      guard beginning == [0x80, 2] else {
        throw UserError(.badData, "\(path): expected a zip file that torch.save wrote, found something else")
      }
      throw UserError(
        .badData, "\(path): expected a file of PyTorch 1.6 or later, found the older format",
        hint: "Write it again with Python: torch.save(torch.load(\"old.bin\"), \"new.bin\").")
    }
    let archive = try ZipArchive(file)
    let pickles = archive.entries.keys.filter { $0.hasSuffix("/data.pkl") && $0.count(where: { $0 == "/" }) == 1 }
    guard pickles.count == 1, let pickleName = pickles.first else {
      throw UserError(
        .badData, "\(path): expected one entry data.pkl, found \(pickles.count)",
        hint: "This is a zip file, but not one that torch.save wrote.")
    }
    let folder = pickleName.dropLast("data.pkl".count)
    let orderName = "\(folder)byteorder"
    if archive.entries[orderName] != nil {
      let range = try archive.range(of: orderName, in: file)
      guard try file.bytes(range.prefix(8)) == Array("little".utf8) else {
        throw UserError(.badData, "\(path): byteorder: expected little, found something else")
      }
    }
    let pickleRange = try archive.range(of: pickleName, in: file)
    guard pickleRange.count <= Pickle.maximumLength else {
      throw UserError(
        .badData, "\(path): data.pkl: expected at most \(Pickle.maximumLength) bytes, found \(pickleRange.count)")
    }
    let pickle = try Pickle(file.bytes(pickleRange), path: path)

    var ranges: [Range<Int>?] = Array(repeating: nil, count: pickle.storages.count)
    var entries: [String: TensorEntry] = [:]
    var layouts: [String: Layout] = [:]
    for (name, tensor) in try Self.tensors(of: pickle, path: path) {
      let storage = pickle.storages[tensor.storage]
      let range = try ranges[tensor.storage] ?? archive.range(of: "\(folder)data/\(storage.key)", in: file)
      ranges[tensor.storage] = range
      func refusal(_ problem: String) -> UserError { UserError(.badData, "\(path): \(name): \(problem)") }
      guard storage.type.byteCount(shape: [storage.count]) == range.count else {
        throw refusal(
          "expected a storage of \(storage.count) elements of type \(storage.type.rawValue), found \(range.count) bytes"
        )
      }
      let entry = TensorEntry(type: storage.type, shape: tensor.shape)
      guard storage.type.byteCount(shape: tensor.shape) != nil, let span = Self.span(of: tensor), tensor.offset >= 0,
        span <= storage.count, tensor.offset <= storage.count - span, entry.elementCount <= storage.count
      else {
        throw refusal(
          "expected it to be a part of its \(storage.count) elements, found shape \(tensor.shape), "
            + "strides \(tensor.strides), offset \(tensor.offset)")
      }
      entries[name] = entry
      layouts[name] = Layout(
        start: range.lowerBound + tensor.offset * storage.type.size, strides: tensor.strides, span: span)
    }
    self.entries = entries
    self.layouts = layouts
  }

  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    let entry = try entry(name)
    require(buffer.count == entry.byteCount, "\(buffer.count) bytes for \(name)")
    guard let layout = layouts[name], entry.elementCount > 0 else { return }
    if layout.strides == Self.rowMajorStrides(entry.shape) {
      return try file.read(into: buffer, at: layout.start)
    }
    let size = entry.type.size
    let spread = UnsafeMutableRawBufferPointer.allocate(byteCount: layout.span * size, alignment: 64)
    defer { spread.deallocate() }
    try file.read(into: spread, at: layout.start)
    var index = [Int](repeating: 0, count: entry.shape.count)
    var source = 0
    for element in 0..<entry.elementCount {
      UnsafeMutableRawBufferPointer(rebasing: buffer[element * size..<(element + 1) * size])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: spread[source * size..<(source + 1) * size]))
      for axis in index.indices.reversed() {
        index[axis] += 1
        source += layout.strides[axis]
        if index[axis] < entry.shape[axis] { break }
        source -= entry.shape[axis] * layout.strides[axis]
        index[axis] = 0
      }
    }
  }

  /// The tensors of the dictionary, or of that under `state_dict`, by name.
  private static func tensors(of pickle: Pickle, path: String) throws -> [String: Pickle.Tensor] {
    guard case .dictionary(let root) = pickle.root else {
      throw UserError(.badData, "\(path): expected a dictionary of tensors, found another value")
    }
    var chosen = root
    for (key, value) in pickle.dictionaries[root] {
      if case (.text("state_dict"), .dictionary(let inner)) = (key, value) { chosen = inner }
    }
    var tensors: [String: Pickle.Tensor] = [:]
    for (key, value) in pickle.dictionaries[chosen] {
      guard case (.text(let name), .tensor(let number)) = (key, value) else { continue }
      guard tensors.updateValue(pickle.tensors[number], forKey: name) == nil else {
        throw UserError(.badData, "\(path): \(name) occurs more than once; two readers would see two tensors")
      }
    }
    guard !tensors.isEmpty else {
      throw UserError(.badData, "\(path): expected a dictionary of tensors, found one without any")
    }
    return tensors
  }

  /// The number of elements from a tensor's first to its last; nil if it has negative sizes or does not fit an `Int`.
  private static func span(of tensor: Pickle.Tensor) -> Int? {
    guard tensor.shape.allSatisfy({ $0 >= 0 }), tensor.strides.allSatisfy({ $0 >= 0 }) else { return nil }
    if tensor.shape.contains(0) { return 0 }
    var span = 1
    for (size, stride) in zip(tensor.shape, tensor.strides) {
      let (distance, isTooFar) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, isTooLong) = span.addingReportingOverflow(distance)
      guard !isTooFar, !isTooLong else { return nil }
      span = sum
    }
    return span
  }

  private static func rowMajorStrides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
    return strides
  }
}
