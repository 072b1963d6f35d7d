import EaselSupport
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

/// Small files with a high cost: each is read or refused with 200 MB and little processor time, however busy the
/// machine.
@Suite(.serialized) struct CostTests {
  /// A file under a megabyte, and its reader.
  private struct Hostile {
    let file: String
    let bytes: () throws -> [UInt8]
    let read: (String) throws -> Void
  }

  private static let names: [String] = hostile.keys.sorted()

  @Test(arguments: names) func isBounded(_ name: String) async {
    // A separate process, so that its peak and time are those of this file.
    await #expect(processExitsWith: .success) { [name] in
      var limit = rlimit(rlim_cur: 20, rlim_max: 20)
      setrlimit(__rlimit_resource_t(RLIMIT_CPU.rawValue), &limit)
      let hostile = try #require(CostTests.hostile[name])
      let folder = try ScratchFolder()
      let bytes = try hostile.bytes()
      #expect(bytes.count < 1 << 20)
      try folder.write(Data(bytes), to: hostile.file)
      func peak() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        return try #require(status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap { Int($0.1) })
      }
      // The peak is to be that of what follows.
      try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
      let before = try peak()
      let start = clock()
      do { try hostile.read(folder.path) } catch is UserError {}
      let seconds = Double(clock() - start) / Double(CLOCKS_PER_SEC)
      let growth = try peak() - before
      if ProcessInfo.processInfo.environment["EASEL_FUZZ_SECONDS"] != nil {
        print("\(name): \(bytes.count) bytes, \(seconds) s, \(growth >> 10) MB more at most")
      }
      #expect(growth < 200 << 10)
    }
  }

  // MARK: Files

  private static var hostile: [String: Hostile] {
    func picture(_ file: String, _ bytes: @escaping () throws -> [UInt8]) -> Hostile {
      Hostile(file: file, bytes: bytes, read: { _ = try Image.read("\($0)/\(file)") })
    }
    func pngText(_ bytes: @escaping () throws -> [UInt8]) -> Hostile {
      Hostile(file: "a.png", bytes: bytes, read: { _ = try PNGText.read("\($0)/a.png") })
    }
    func settings(_ text: @escaping () -> String) -> Hostile {
      Hostile(
        file: "a.yaml", bytes: { Array(text().utf8) },
        read: { folder in
          var document = try AnyPreset.named("diffusion-small").configuration()
          try document.overlay(yamlFile: "\(folder)/a.yaml")
          _ = try document.decode(DiffusionSettings.self)
        })
    }
    func tensors(_ header: @escaping () -> String) -> Hostile {
      Hostile(
        file: "a.safetensors",
        bytes: {
          let json = Array(header().utf8)
          return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
        }, read: { _ = try SafetensorsReader(path: "\($0)/a.safetensors").floats("weight") })
    }
    func sheet(_ text: @escaping () -> String) -> Hostile {
      Hostile(
        file: "sheet.json", bytes: { Array(text().utf8) },
        read: { folder in
          let image = Image(width: 1, height: 1, channels: 1, pixels: [7])
          for name in ["train", "validation"] { try image.write(to: "\(folder)/\(name).png") }
          _ = try DatasetCatalog(searchRoots: []).resolve(folder)
        })
    }
    func lines(_ line: String, _ count: Int) -> String { String(repeating: line, count: count) }
    let metrics = { (text: String) in
      Hostile(
        file: "metrics.jsonl", bytes: { Array(text.utf8) },
        read: { folder in
          _ = try MetricsLog.lastRecord(at: "\(folder)/metrics.jsonl")
          _ = try MetricsLog.records(at: "\(folder)/metrics.jsonl")
        })
    }
    let bomb = { try deflated([UInt8](repeating: 32, count: 15 << 20)) }
    var all: [String: Hostile] = [:]
    all["PNG with compressed text"] = picture("a.png") {
      try black(8, 8, before: copies(pngChunk("zTXt", bytes([97, 0, 0], bomb())), 50))
    }
    all["PNG with a compressed profile"] = picture("a.png") {
      try black(8, 8, before: pngChunk("iCCP", bytes([97, 0, 0], deflated([UInt8](repeating: 0, count: 100 << 20)))))
    }
    all["PNG with many chunks"] = picture("a.png") {
      try black(8, 8, before: copies(pngChunk("tEXt", [97, 0, 98]), 60_000))
    }
    all["PNG with unknown chunks"] = picture("a.png") { try black(8, 8, before: copies(pngChunk("abCd", []), 80_000)) }
    all["PNG with empty pixels"] = picture("a.png") { try black(8, 8, before: copies(pngChunk("IDAT", []), 80_000)) }
    all["PNG of many pixels"] = picture("a.png") { try black(8000, 8000) }
    all["PNG of many interlaced pixels"] = picture("a.png") {
      try black(6000, 6000, depth: 16, color: 6, isInterlaced: true)
    }
    all["PNG with EXIF data"] = picture("a.png") {
      try black(8, 8, before: copies(pngChunk("eXIf", bytes(Array("MM".utf8), [0, 42, 0, 0, 0, 8, 255, 255])), 45_000))
    }
    all["PNG text, compressed"] = pngText {
      try black(8, 8, before: copies(pngChunk("zTXt", bytes([97, 0, 0], bomb())), 50))
    }
    all["PNG text, short ones"] = pngText {
      try black(8, 8, before: copies(pngChunk("zTXt", bytes([97, 0, 0], deflated([98]))), 35_000))
    }
    all["JPEG of hundreds of scans"] = picture("a.jpg") { jpegOfScans(side: 6500, count: 5000) }
    all["JPEG of many segments"] = picture("a.jpg") {
      let picture = Array(try contents("\(packageFolder)/Tests/EaselImagesTests/Fixtures/rgb.jpg"))
      return bytes(Array(picture[..<2]), copies([0xFF, 0xE1, 0, 2], 250_000), Array(picture[2...]))
    }
    all["GIF of many pixels"] = picture("a.gif") { bytes(Array("GIF89a".utf8), [0, 60, 0, 60, 0, 0, 0, 0x2C]) }
    all["GIF of many blocks"] = picture("a.gif") {
      bytes(Array("GIF89a".utf8), [8, 0, 8, 0, 0, 0, 0], copies([0x21, 0xFE, 1, 65, 0], 200_000), [0x3B])
    }
    all["WebP of many chunks"] = picture("a.webp") {
      bytes(
        Array("RIFF".utf8), [0, 0, 15, 0], Array("WEBPVP8X".utf8), [10, 0, 0, 0, 8, 0, 0, 0, 255, 63, 0, 255, 63, 0],
        copies(Array("abcd\0\0\0\0".utf8), 120_000))
    }
    all["gzip of nothing but zeros"] = Hostile(
      file: "train-images-idx3-ubyte.gz",
      bytes: {
        try gzip(bytes([0, 0, 8, 3, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0], [UInt8](repeating: 0, count: 1 << 26)))
      },
      read: { _ = try DatasetCatalog(searchRoots: []).resolve("\($0)/train-images-idx3-ubyte.gz") })
    all["classes in a list"] = Hostile(
      file: "classes.txt", bytes: { copies(Array("a\n".utf8), 500_000) },
      read: { folder in
        let images: [UInt8] = [0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4]
        try Data(images).write(to: URL(fileURLWithPath: "\(folder)/train-images-idx3-ubyte"))
        let labels: [UInt8] = [0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 0, 1]
        try Data(labels).write(to: URL(fileURLWithPath: "\(folder)/train-labels-idx1-ubyte"))
        _ = try DatasetCatalog(searchRoots: []).resolve(folder)
      })
    all["sheet of classes"] = sheet {
      let classes = [String](repeating: "\"\"", count: 300_000).joined(separator: ",")
      return #"{"width":1,"height":1,"channels":1,"classes":["# + classes
        + #"],"train":{"count":1,"labels":[0]},"validation":{"count":1,"labels":[0]}}"#
    }
    all["sheet of keys"] = sheet { "{" + (0..<90_000).map { "\"\($0)\":1" }.joined(separator: ",") + "}" }
    all["sheet of brackets"] = sheet { "{\"width\":" + lines("[", 1_000_000) }
    all["YAML of aliases"] = settings {
      "a0: &a0 [1,1]\n" + (1..<40).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined() + "b: {*a39 : 1}\n"
    }
    all["YAML of aliases without spaces"] = settings {
      "[&a0[1,1]," + (1..<40).map { "&a\($0)[*a\($0 - 1),*a\($0 - 1)]," }.joined() + "{*a39 : 1}]\n"
    }
    all["YAML of keys"] = settings { (0..<70_000).map { "key-\($0): 1\n" }.joined() }
    // The most that is read of a file of settings.
    all["YAML of fewer keys"] = settings { (0..<4600).map { "key-\($0): 1\n" }.joined() }
    all["YAML of one key"] = settings { lines("channels: 1\n", 5400) }
    all["YAML of one long key"] = settings { lines("k", 65_000) + ": 1\n" }
    all["YAML of numbers"] = settings { "channels: [" + lines("01,", 21_000) + "1]\n" }
    all["YAML of brackets"] = settings { "channels: " + lines("[", 900) + lines("1,", 31_000) + lines("]", 900) }
    all["safetensors of tensors"] = tensors {
      "{"
        + (0..<16_000).map { "\"w\($0)\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" }.joined(
          separator: ",")
        + "}"
    }
    all["safetensors of notes"] = tensors {
      "{\"__metadata__\":{" + (0..<80_000).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}}"
    }
    all["safetensors of brackets"] = tensors { "{\"a\":" + lines("[", 1_000_000) }
    all["safetensors of extents"] = tensors {
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[" + lines("1,", 400_000) + "0],\"data_offsets\":[0,0]}}"
    }
    func pickle(_ opcodes: @escaping () -> [UInt8]) -> Hostile {
      Hostile(
        file: "a.bin",
        bytes: {
          zip([("a/data.pkl", PickleBytes.file(opcodes())), ("a/data/0", [UInt8](repeating: 0, count: 4096))])
        },
        read: { folder in
          let file = try PyTorchReader(path: "\(folder)/a.bin")
          for name in file.names.prefix(1000) { _ = try file.floats(name) }
        })
    }
    all["pickle of lists"] = pickle { copies([0x5D], 900_000) }
    all["pickle of nested tuples"] = pickle { EaselTestSupport.bytes([0x29], copies([0x85], 900_000)) }
    all["pickle of marks"] = pickle { copies([0x28], 900_000) }
    all["pickle of dictionaries"] = pickle { copies([0x7D], 900_000) }
    all["pickle of one list, appended to itself"] = pickle {
      EaselTestSupport.bytes([0x5D, 0x71, 0], copies([0x68, 0, 0x61], 300_000))
    }
    all["pickle of memories"] = pickle {
      EaselTestSupport.bytes(
        [0x4E],
        Array(
          (0..<180_000).flatMap { number in [0x72] + (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }))
    }
    all["pickle of tensors with many axes"] = pickle {
      // One list of 65 extents and one of thousands, that every tensor names again.
      let extents = PickleBytes.tuple((0..<50_000).map { _ in [0x4B, 1] })
      let tensor = EaselTestSupport.bytes(
        PickleBytes.global("torch._utils", "_rebuild_tensor_v2"), [0x28],
        PickleBytes.tuple([
          PickleBytes.text("storage"), PickleBytes.global("torch", "FloatStorage"), PickleBytes.text("0"),
          PickleBytes.text("cpu"), PickleBytes.number(1024),
        ]), [0x51, 0x4B, 0, 0x68, 0, 0x68, 0, 0x89, 0x7D, 0x74, 0x52])
      return EaselTestSupport.bytes(extents, [0x71, 0], copies(tensor, 4000))
    }
    all["pickle of tensors"] = pickle {
      PickleBytes.dictionary(
        (0..<4500).map {
          (PickleBytes.text("w\($0)"), PickleBytes.tensor(count: 1024, shape: [32, 32], strides: [1, 32]))
        })
    }
    all["zip of entries"] = Hostile(
      file: "a.bin", bytes: { zip((0..<9000).map { ("\($0)", []) }) },
      read: { _ = try PyTorchReader(path: "\($0)/a.bin") })
    all["weights in many parts"] = Hostile(
      file: "model.safetensors.index.json",
      bytes: {
        let map = (0..<30_000).map { "\"\($0)\":\"\($0).safetensors\"" }.joined(separator: ",")
        return Array("{\"weight_map\":{\(map)}}".utf8)
      }, read: { _ = try WeightsFolder($0) })
    all["weights in parts of brackets"] = Hostile(
      file: "model.safetensors.index.json", bytes: { Array(("{\"weight_map\":" + lines("[", 1_000_000)).utf8) },
      read: { _ = try WeightsFolder($0) })
    func scheduler(_ text: @escaping () -> String) -> Hostile {
      Hostile(
        file: "scheduler_config.json", bytes: { Array(text().utf8) },
        read: { _ = try DiffusersScheduler(Data(contentsOf: URL(fileURLWithPath: "\($0)/scheduler_config.json"))) })
    }
    all["scheduler of brackets"] = scheduler { "{\"trained_betas\":" + lines("[", 1_000_000) }
    all["scheduler of numbers"] = scheduler {
      "{\"_class_name\":\"DDPMScheduler\",\"trained_betas\":[" + lines("0.1,", 200_000) + "0.1]}"
    }
    all["scheduler of keys"] = scheduler { "{" + (0..<90_000).map { "\"\($0)\":1" }.joined(separator: ",") + "}" }
    all["NPY of extents"] = Hostile(
      file: "a.npy",
      bytes: {
        let header = Array(
          ("{'descr': '|u1', 'fortran_order': True, 'shape': (" + lines("1, ", 300_000) + "), }").utf8)
        let length = (0..<4).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        return EaselTestSupport.bytes([0x93], Array("NUMPY".utf8), [2, 0], length, header)
      }, read: { _ = try NPYArray(path: "\($0)/a.npy") })
    all["metrics of steps"] = metrics(lines("{\"step\":1}\n", 80_000))
    all["metrics of one line"] = metrics("{\"step\":1" + (0..<70_000).map { ",\"\($0)\":1" }.joined() + "}\n")
    all["metrics of brackets"] = metrics(lines("[", 1_000_000) + "\n")
    all["manifest of files"] = Hostile(
      file: "manifest.json",
      bytes: {
        let files = (0..<20_000).map { "\"f\($0)\":{\"sha256\":\"\",\"size\":0}" }.joined(separator: ",")
        return Array("{\"files\":{\(files)},\"hash\":\"\",\"step\":1}".utf8)
      }, read: { _ = try CheckpointFolder.open($0) })
    return all
  }

  private static func copies(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
    Array(repeatElement(bytes, count: count).joined())
  }

  /// A black picture.
  private static func black(
    _ width: Int, _ height: Int, depth: UInt8 = 8, color: UInt8 = 0, isInterlaced: Bool = false, before: [UInt8] = []
  ) throws -> [UInt8] {
    let bits = (color == 6 ? 4 : 1) * Int(depth)
    // Interlacing needs a little more than sequential rows; excess data are ignored.
    let count = ((width * bits + 7) / 8 + 1) * (height + (isInterlaced ? height : 0))
    return try png(
      width: width, height: height, depth: depth, color: color, isInterlaced: isInterlaced, before: before,
      rows: [UInt8](repeating: 0, count: count))
  }
}
