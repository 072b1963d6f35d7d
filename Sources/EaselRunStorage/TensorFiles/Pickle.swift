import EaselSupport
import EaselTensors

/// A pickle of tensors, read without running anything: the opcodes of protocol 2 and the few globals that a state
/// dictionary needs. Every other opcode and global is refused by name.
///
/// Values refer to each other by number, so that lists which contain themselves and deep nesting cost nothing. Python's
/// `pickletools.py` describes the opcodes, PyTorch's `_utils.py` and `serialization.py` the globals.
struct Pickle {
  enum Value {
    case none
    case flag(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    /// A list or a tuple, by its number.
    case sequence(Int)
    case dictionary(Int)
    case global(Global)
    case storage(Int)
    case tensor(Int)
  }

  /// What a pickle of tensors may name.
  enum Global {
    case orderedDictionary
    case tensor
    case parameter
    case storage(ElementType)

    init?(_ name: String) {
      switch name {
      case "collections.OrderedDict": self = .orderedDictionary
      case "torch._utils._rebuild_tensor_v2": self = .tensor
      case "torch._utils._rebuild_parameter": self = .parameter
      default:
        guard let type = Global.storageTypes[name] else { return nil }
        self = .storage(type)
      }
    }

    private static let storageTypes: [String: ElementType] = [
      "torch.FloatStorage": .float32, "torch.DoubleStorage": .float64, "torch.HalfStorage": .float16,
      "torch.BFloat16Storage": .bfloat16, "torch.LongStorage": .int64, "torch.IntStorage": .int32,
      "torch.ShortStorage": .int16, "torch.CharStorage": .int8, "torch.ByteStorage": .uint8,
      "torch.BoolStorage": .bool,
    ]
  }

  /// Elements that tensors are parts of.
  struct Storage {
    let type: ElementType
    /// The name of the entry that has its bytes.
    let key: String
    let count: Int
  }

  /// Offset and strides in elements.
  struct Tensor {
    let storage: Int
    let offset: Int
    let shape: [Int]
    let strides: [Int]
  }

  /// The length limit of a pickle in bytes, enough for tens of thousands of tensors.
  static let maximumLength = 4_000_000
  /// The number of a tensor's axes is limited as PyTorch limits it.
  private static let maximumRank = 64
  /// Numbers in the shapes and strides of all tensors. One short opcode makes a tensor of a long shape that it only
  /// refers to, so a small pickle could otherwise fill the memory.
  private static let maximumAxes = 1_000_000

  private(set) var root = Value.none
  private(set) var sequences: [[Value]] = []
  private(set) var dictionaries: [[(key: Value, value: Value)]] = []
  private(set) var storages: [Storage] = []
  private(set) var tensors: [Tensor] = []

  private let bytes: [UInt8]
  /// For messages.
  private let path: String
  private var place = 0
  private var stack: [Value] = []
  private var marks: [Int] = []
  private var memo: [Int: Value] = [:]
  private var axes = 0

  /// - Throws: `UserError(.badData)` with the position if the pickle is malformed, or has anything else than tensors,
  ///   numbers, texts, lists and dictionaries.
  init(_ bytes: [UInt8], path: String) throws {
    self.bytes = bytes
    self.path = path
    while try step() {}
  }

  // MARK: Opcodes

  private enum Opcode: UInt8 {
    case mark = 0x28
    case emptyTuple = 0x29
    case stop = 0x2E
    case number = 0x47
    case integer4 = 0x4A
    case integer1 = 0x4B
    case integer2 = 0x4D
    case none = 0x4E
    case persistent = 0x51
    case reduce = 0x52
    case text = 0x58
    case emptyList = 0x5D
    case append = 0x61
    case build = 0x62
    case global = 0x63
    case appends = 0x65
    case get1 = 0x68
    case get4 = 0x6A
    case put1 = 0x71
    case put4 = 0x72
    case setItem = 0x73
    case tuple = 0x74
    case setItems = 0x75
    case emptyDictionary = 0x7D
    case `protocol` = 0x80
    case tuple1 = 0x85
    case tuple2 = 0x86
    case tuple3 = 0x87
    case yes = 0x88
    case no = 0x89
    case long = 0x8A
  }

  /// Python's names for opcodes that other pickles have.
  private static let foreignOpcodes: [UInt8: String] = [
    0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x46: "FLOAT", 0x49: "INT",
    0x4C: "LONG", 0x50: "PERSID", 0x53: "STRING", 0x54: "BINSTRING", 0x55: "SHORT_BINSTRING", 0x56: "UNICODE",
    0x64: "DICT", 0x67: "GET", 0x69: "INST", 0x6C: "LIST", 0x6F: "OBJ", 0x70: "PUT", 0x81: "NEWOBJ", 0x82: "EXT1",
    0x83: "EXT2", 0x84: "EXT4", 0x8B: "LONG4", 0x8C: "SHORT_BINUNICODE", 0x8D: "BINUNICODE8", 0x8E: "BINBYTES8",
    0x8F: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x93: "STACK_GLOBAL", 0x94: "MEMOIZE",
    0x95: "FRAME", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
  ]

  /// Executes an opcode. False after the last one.
  private mutating func step() throws -> Bool {
    let code = try UInt8(unsigned(1))
    guard let opcode = Opcode(rawValue: code) else {
      let name = Self.foreignOpcodes[code] ?? "0x" + String(code, radix: 16)
      throw refusal("opcode \(name) is not part of a state dictionary of tensors")
    }
    switch opcode {
    case .protocol:
      let version = try unsigned(1)
      guard version == 2 else { throw refusal("expected pickle protocol 2, found \(version)") }
    case .stop:
      root = try pop()
      return false
    case .mark: marks.append(stack.count)
    case .none: stack.append(.none)
    case .yes: stack.append(.flag(true))
    case .no: stack.append(.flag(false))
    case .integer1: stack.append(.integer(try unsigned(1)))
    case .integer2: stack.append(.integer(try unsigned(2)))
    case .integer4: stack.append(.integer(Int(Int32(truncatingIfNeeded: try unsigned(4)))))
    case .long: stack.append(.integer(try signed(unsigned(1))))
    case .number: stack.append(.number(Double(bitPattern: try take(8).reduce(0) { $0 << 8 | UInt64($1) })))
    case .text:
      guard let text = String(validating: try take(unsigned(4)), as: UTF8.self) else {
        throw refusal("expected a text in UTF-8, found other bytes")
      }
      stack.append(.text(text))
    case .emptyTuple, .emptyList: pushSequence([])
    case .tuple: pushSequence(try popToMark())
    case .tuple1: pushSequence(try pop(1))
    case .tuple2: pushSequence(try pop(2))
    case .tuple3: pushSequence(try pop(3))
    case .emptyDictionary: pushDictionary()
    case .append: try append(pop(1))
    case .appends: try append(popToMark())
    case .setItem: try setItems(pop(2))
    case .setItems: try setItems(popToMark())
    case .put1: memo[try unsigned(1)] = try top()
    case .put4: memo[try unsigned(4)] = try top()
    case .get1: stack.append(try remembered(unsigned(1)))
    case .get4: stack.append(try remembered(unsigned(4)))
    case .global:
      let name = try line() + "." + line()
      guard let global = Global(name) else {
        throw refusal("\(name) is not part of a state dictionary of tensors")
      }
      stack.append(.global(global))
    case .persistent: try pushStorage(pop())
    case .reduce: try reduce()
    case .build:
      // The attributes of an ordered dictionary: versions of modules.
      _ = try pop()
      guard case .dictionary = try top() else { throw refusal("only a dictionary may have attributes") }
    }
    return true
  }

  // MARK: Bytes

  private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
    guard count <= bytes.count - place else { throw refusal("the pickle ends in the middle of a value") }
    defer { place += count }
    return bytes[place..<place + count]
  }

  /// A little-endian number of at most 4 bytes.
  private mutating func unsigned(_ count: Int) throws -> Int {
    try take(count).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// A little-endian number in two's complement.
  private mutating func signed(_ count: Int) throws -> Int {
    guard count <= 8 else { throw refusal("expected a whole number of at most 8 bytes, found \(count)") }
    guard count > 0 else { return 0 }
    let bits = try take(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let shift = UInt64(64 - 8 * count)
    return Int(Int64(bitPattern: bits << shift) >> Int64(shift))
  }

  private mutating func line() throws -> String {
    let line = bytes[place...].prefix(256).prefix { $0 != 10 }
    guard let text = String(validating: line, as: UTF8.self), line.endIndex < bytes.count, bytes[line.endIndex] == 10
    else { throw refusal("expected a name of at most 256 bytes, and the end of its line") }
    place = line.endIndex + 1
    return text
  }

  // MARK: The stack

  private func top() throws -> Value {
    guard stack.count > marks.last ?? 0, let top = stack.last else { throw refusal("a value is missing") }
    return top
  }

  private mutating func pop() throws -> Value {
    let value = try top()
    stack.removeLast()
    return value
  }

  private mutating func pop(_ count: Int) throws -> [Value] {
    guard stack.count - (marks.last ?? 0) >= count else { throw refusal("a value is missing") }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popToMark() throws -> [Value] {
    guard let mark = marks.popLast() else { throw refusal("a mark is missing") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private func remembered(_ number: Int) throws -> Value {
    guard let value = memo[number] else { throw refusal("nothing was remembered as number \(number)") }
    return value
  }

  private mutating func pushSequence(_ values: [Value]) {
    stack.append(.sequence(sequences.count))
    sequences.append(values)
  }

  private mutating func pushDictionary() {
    stack.append(.dictionary(dictionaries.count))
    dictionaries.append([])
  }

  private mutating func append(_ values: [Value]) throws {
    guard case .sequence(let list) = try top() else { throw refusal("expected a list to append to") }
    sequences[list] += values
  }

  private mutating func setItems(_ values: [Value]) throws {
    guard case .dictionary(let dictionary) = try top(), values.count.isMultiple(of: 2) else {
      throw refusal("expected a dictionary, and a value for each key")
    }
    for index in stride(from: 0, to: values.count, by: 2) {
      dictionaries[dictionary].append((key: values[index], value: values[index + 1]))
    }
  }

  // MARK: Tensors

  private func sequence(_ value: Value) -> [Value]? {
    if case .sequence(let number) = value { sequences[number] } else { nil }
  }

  private func integer(_ value: Value) -> Int? {
    if case .integer(let integer) = value { integer } else { nil }
  }

  private func integers(_ value: Value) -> [Int]? {
    guard let values = sequence(value), values.count <= Self.maximumRank else { return nil }
    let integers = values.compactMap { integer($0) }
    return integers.count == values.count ? integers : nil
  }

  private mutating func pushStorage(_ identity: Value) throws {
    guard let parts = sequence(identity), parts.count == 5, case .text("storage") = parts[0],
      case .global(.storage(let type)) = parts[1], case .text(let key) = parts[2], let count = integer(parts[4]),
      count >= 0
    else { throw refusal("expected a storage's type, key, place and length") }
    stack.append(.storage(storages.count))
    storages.append(Storage(type: type, key: key, count: count))
  }

  private mutating func reduce() throws {
    guard let arguments = sequence(try pop()), case .global(let global) = try pop() else {
      throw refusal("expected a function and its arguments")
    }
    switch global {
    case .orderedDictionary:
      guard arguments.isEmpty else { throw refusal("expected an ordered dictionary without arguments") }
      pushDictionary()
    case .parameter:
      guard let first = arguments.first, case .tensor = first else { throw refusal("expected a parameter's tensor") }
      stack.append(first)
    case .tensor:
      guard (6...7).contains(arguments.count), case .storage(let storage) = arguments[0],
        let offset = integer(arguments[1]), let shape = integers(arguments[2]), let strides = integers(arguments[3]),
        shape.count == strides.count
      else { throw refusal("expected a tensor's storage, offset, shape and strides") }
      axes += 2 * shape.count
      guard axes <= Self.maximumAxes else { throw refusal("the tensors have too many axes in all") }
      stack.append(.tensor(tensors.count))
      tensors.append(Tensor(storage: storage, offset: offset, shape: shape, strides: strides))
    case .storage: throw refusal("a storage's type is not a function")
    }
  }

  private func refusal(_ problem: String) -> UserError {
    UserError(
      .badData, "\(path): data.pkl: byte \(place): \(problem)",
      hint: "Only state dictionaries of tensors are read; nothing in a file is run.")
  }
}
