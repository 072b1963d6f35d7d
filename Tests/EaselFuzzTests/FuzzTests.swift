import CEaselZlib
import EaselSupport
import EaselTestSupport
import EaselText
import EaselTraining
import Foundation
import Testing

/// Files damaged in many ways are read, or refused with an error for people: no trap, no other error.
///
/// EASEL_FUZZ_SECONDS sets the time for each reader, EASEL_FUZZ_SEED the changes, and EASEL_FUZZ_READER the reader;
/// Scripts/fuzz sets them.
@Suite(.serialized) struct FuzzTests {
  struct Reader: Sendable, CustomTestStringConvertible {
    let name: String
    /// The name of the file that it reads.
    let file: String
    /// Valid files to start from.
    let seeds: @Sendable () throws -> [[UInt8]]
    /// Corrects checksums, so that the code behind them is reached.
    var repair: @Sendable ([UInt8]) -> [UInt8] = { $0 }
    /// Reads the file in a folder.
    let read: @Sendable (String) throws -> Void
    var testDescription: String { name }
  }

  private static var chosen: [Reader] {
    let name = ProcessInfo.processInfo.environment["EASEL_FUZZ_READER"] ?? ""
    return name.isEmpty ? readers : readers.filter { $0.name == name }
  }

  @Test(arguments: chosen)
  func survives(_ reader: Reader) throws {
    let environment = ProcessInfo.processInfo.environment
    let seconds = Double(environment["EASEL_FUZZ_SECONDS"] ?? "") ?? 0.5
    let seed = UInt64(environment["EASEL_FUZZ_SEED"] ?? "") ?? 1
    let folder = try ScratchFolder()
    let path = folder.file(reader.file)
    let seeds = try reader.seeds()
    for (index, bytes) in seeds.enumerated() {
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      #expect(throws: Never.self, "seed \(index)") { try reader.read(folder.path) }
    }
    var mutator = Mutator(seeds, seed: seed)
    // The peak is to be that of what follows.
    try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
    let before = memory("VmRSS")
    let deadline = Date().addingTimeInterval(seconds)
    var (read, refused) = (0, 0)
    while Date() < deadline {
      var bytes = mutator.next()
      if (read + refused).isMultiple(of: 2) { bytes = reader.repair(bytes) }
      // The file is written before it is read, so that one that traps can be examined.
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      do {
        try reader.read(folder.path)
        read += 1
      } catch is UserError {
        refused += 1
      } catch {
        Issue.record("\(reader.name), try \(read + refused) of seed \(seed): \(type(of: error)): \(error)")
        return
      }
    }
    #expect(refused > 0)
    // At no time may there be leaks, or memory for what a header only claims.
    let growth = memory("VmHWM") - before
    if environment["EASEL_FUZZ_SECONDS"] != nil {
      print("\(reader.name): \(read) read, \(refused) refused, \(growth >> 20) MiB more at most")
      #expect(growth < 256 << 20)
    }
  }

  /// A line of this process's status in bytes: VmRSS for the memory in use, VmHWM for its peak.
  private func memory(_ field: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("\(field):") }
    return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first).flatMap { Int($0) }.map { $0 << 10 } ?? 0
  }

  // MARK: Readers

  /// Reads a folder of pictures with what is beside them.
  private static func readWithPictures(_ folder: String) throws {
    for name in ["a", "b"] where !FileManager.default.fileExists(atPath: "\(folder)/\(name).png") {
      try Image(width: 2, height: 2, channels: 1, pixels: [9, 8, 7, 6]).write(to: "\(folder)/\(name).png")
    }
    _ = try DatasetCatalog(searchRoots: []).resolve(folder)
  }

  /// Reads a tokenizer of which one file is damaged, and uses it.
  private static func readTokenizer(_ folder: String, beside name: String) throws {
    if !FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
      try FileManager.default.copyItem(atPath: fixture("tokenizer/\(name)"), toPath: "\(folder)/\(name)")
    }
    let tokenizer = try BytePairTokenizer(folder: folder)
    let numbers = tokenizer.encode("a größer red 😀 circle's", length: 16)
    _ = tokenizer.decode(numbers.tokens)
  }

  /// A reader of a folder of another program (Tests/Fixtures/make_folders.py) of which one file is damaged.
  private static func readerOfFolder(_ name: String, _ file: String) -> Reader {
    Reader(
      name: "\(name)/\(file)", file: "damaged", seeds: { [Array(try contents(fixture("folders/\(name)/\(file)")))] },
      read: { folder in
        let copy = "\(folder)/\(name)"
        if !FileManager.default.fileExists(atPath: copy) {
          try FileManager.default.copyItem(atPath: fixture("folders/\(name)"), toPath: copy)
        }
        try contents("\(folder)/damaged").write(to: URL(fileURLWithPath: "\(copy)/\(file)"))
        _ = try ForeignFolder.model(in: copy)
      })
  }

  static let readers = [
    Reader(
      name: "PNG", file: "a.png", seeds: { try images("png") }, repair: withChecksums,
      read: {
        _ = try Image.read("\($0)/a.png")
      }),
    Reader(
      name: "PNG text", file: "a.png", seeds: { try images("png") }, repair: withChecksums,
      read: {
        _ = try PNGText.read("\($0)/a.png")
      }),
    Reader(
      name: "JPEG", file: "a.jpg", seeds: { try images("jpg") },
      read: { _ = try Image.read("\($0)/a.jpg") }),
    Reader(
      name: "WebP", file: "a.webp", seeds: { try images("webp") },
      read: { _ = try Image.read("\($0)/a.webp") }),
    Reader(
      name: "GIF", file: "a.gif", seeds: { try images("gif") },
      read: { _ = try Image.read("\($0)/a.gif") }),
    Reader(
      name: "IDX", file: "train-images-idx3-ubyte",
      seeds: { [[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5] + [UInt8](repeating: 7, count: 60)] },
      read: { _ = try DatasetCatalog(searchRoots: []).resolve("\($0)/train-images-idx3-ubyte") }),
    Reader(
      name: "gzip", file: "t10k-images-idx3-ubyte.gz",
      seeds: {
        let header: [UInt8] = [0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0, 8]
        let pixels: [UInt8] = (0..<1280).map { UInt8($0 % 251) }
        return [try gzip(header + pixels)]
      },
      read: { _ = try DatasetCatalog(searchRoots: []).resolve("\($0)/t10k-images-idx3-ubyte.gz") }),
    Reader(
      name: "CIFAR", file: "data_batch_1.bin",
      seeds: {
        let record: [UInt8] = (0..<3072).map { UInt8($0 % 251) }
        return [[0] + record + [1] + record + [2] + record]
      },
      read: { _ = try DatasetCatalog(searchRoots: []).resolve("\($0)/data_batch_1.bin") }),
    Reader(
      name: "sheet", file: "sheet.json",
      seeds: {
        let text = """
          {"width": 2, "height": 2, "channels": 1, "classes": ["a", "b"],
           "train": {"count": 3, "labels": [0, 1, 0], "names": ["x", "y", "z"]}, "validation": {"count": 1, "labels": [1]}}
          """
        return [Array(text.utf8)]
      },
      read: { folder in
        for (name, width) in [("train", 4), ("validation", 2)]
        where !FileManager.default.fileExists(atPath: "\(folder)/\(name).png") {
          try Image(width: width, height: 4, channels: 1, pixels: [UInt8](repeating: 9, count: 4 * width))
            .write(to: "\(folder)/\(name).png")
        }
        _ = try DatasetCatalog(searchRoots: []).resolve(folder)
      }),
    Reader(
      name: "captions in JSON", file: "metadata.jsonl",
      seeds: {
        let text = """
          {"file_name": "a.png", "text": "a \\"red\\" boot", "id": 3}
          {"file_name": "./b.png", "captions": ["größer", "b"], "text": null}

          """
        return [Array(text.utf8)]
      }, read: readWithPictures),
    Reader(
      name: "captions in CSV", file: "metadata.csv",
      seeds: {
        [Array("file_name,text,text_2\r\na.png,\"a \"\"red\"\"\nboot\",\nb.png,größer,\"x, y\"\n".utf8)]
      }, read: readWithPictures),
    Reader(
      name: "captions beside pictures", file: "a.txt", seeds: { [Array("a red boot\n\nein Stiefel, größer\n".utf8)] },
      read: readWithPictures),
    Reader(
      name: "tokens", file: "vocab.json", seeds: { [Array(try contents(fixture("tokenizer/vocab.json")))] },
      read: { try readTokenizer($0, beside: "merges.txt") }),
    Reader(
      name: "merges", file: "merges.txt", seeds: { [Array(try contents(fixture("tokenizer/merges.txt")))] },
      read: { try readTokenizer($0, beside: "vocab.json") }),
    readerOfFolder("sd", "model_index.json"),
    readerOfFolder("sd", "unet/config.json"),
    readerOfFolder("sd", "vae/config.json"),
    readerOfFolder("sd", "tokenizer/tokenizer_config.json"),
    readerOfFolder("sd", "tokenizer/tokenizer.json"),
    readerOfFolder("ddim", "unet/config.json"),
    readerOfFolder("clip", "config.json"),
    Reader(
      name: "NPY", file: "a.npy",
      seeds: {
        let folder = try ScratchFolder()
        try NPYArray(shape: [2, 3], values: .float32([1, 2, 3, 4, 5, 6])).write(to: folder.file("a"))
        try NPYArray(shape: [2, 2, 2], values: .uint8([1, 2, 3, 4, 5, 6, 7, 8])).write(to: folder.file("b"))
        return try ["a", "b"].map { Array(try contents(folder.file($0))) }
      },
      read: { _ = try NPYArray(path: "\($0)/a.npy") }),
    Reader(
      name: "YAML", file: "a.yaml",
      seeds: { [Array(try AnyPreset.named("diffusion-small").configuration().yaml().utf8)] },
      read: { folder in
        let preset = try AnyPreset.named("diffusion-small")
        var document = try preset.configuration()
        try document.overlay(yamlFile: "\(folder)/a.yaml")
        try document.decode(TrainingSettings.self).validate()
        try document.decode(DiffusionSettings.self).validate()
      }),
    Reader(
      name: "safetensors", file: "a.safetensors", seeds: { [Array(try contents(fixture("reference.safetensors")))] },
      read: { folder in
        let file = try SafetensorsReader(path: "\(folder)/a.safetensors")
        for name in file.names { _ = try file.withBytes(name) { $0.reduce(0) { $0 &+ Int($1) } } }
      }),
    Reader(
      name: "PyTorch", file: "a.bin",
      seeds: { try ["state.bin", "nested.pt"].map { Array(try contents(fixture("torch/\($0)"))) } },
      read: { folder in
        let file = try PyTorchReader(path: "\(folder)/a.bin")
        for name in file.names { _ = try file.withBytes(name) { $0.reduce(0) { $0 &+ Int($1) } } }
      }),
    Reader(
      name: "weights in parts", file: "model.safetensors.index.json",
      seeds: {
        [Array(#"{"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#.utf8)]
      },
      read: { folder in
        for (name, tensor) in [("1", "a"), ("2", "b")]
        where !FileManager.default.fileExists(atPath: "\(folder)/\(name).safetensors") {
          try SafetensorsWriter.write(
            [.init(name: tensor, shape: [1], floats: [1])], to: "\(folder)/\(name).safetensors")
        }
        let weights = try WeightsFolder(folder)
        for name in weights.names { _ = try weights.floats(name) }
      }),
    Reader(
      name: "scheduler", file: "scheduler_config.json",
      seeds: {
        let fixture = try JSONSerialization.jsonObject(with: contents(fixture("scheduler-runs.json"))) as? [String: Any]
        let runs = try #require(fixture?["runs"] as? [[String: Any]])
        return runs.compactMap { ($0["config"] as? String).map { Array($0.utf8) } }
      },
      read: { folder in
        let json = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/scheduler_config.json"))
        let settings = try DiffusersScheduler(json).settings
        try settings.validate()
        let sampler = DiffusionSampler(settings.sampler)
        let levels = sampler.levels(min(20, settings.timesteps), of: settings.schedule, settings.levelSpacing())
        #expect(levels.allSatisfy { $0.signal > 0 && $0.sigma.isFinite && $0.condition.isFinite })
        _ = try DiffusersScheduler(DiffusersScheduler.json(for: settings))
      }),
    Reader(
      name: "metrics", file: "metrics.jsonl",
      seeds: { [Array("{\"step\": 1, \"loss\": 0.5}\n{\"step\": 20, \"loss\": null}\n".utf8)] },
      read: { folder in
        _ = try MetricsLog.records(at: "\(folder)/metrics.jsonl")
        _ = try MetricsLog.lastRecord(at: "\(folder)/metrics.jsonl")
      }),
    Reader(
      name: "manifest", file: "manifest.json",
      seeds: {
        [Array(try contents("\(packageFolder)/Checkpoints/vae/\(bundledStep)/manifest.json"))]
      },
      read: { _ = try CheckpointFolder.open($0) }),
    Reader(
      name: "state", file: "state.json",
      seeds: { [Array(try contents("\(packageFolder)/Checkpoints/vae/\(bundledStep)/state.json"))] },
      read: { folder in
        let files = FileManager.default
        // Whatever the file contains now, a manifest has its hash.
        let run = try RunFolder(workspace: folder, name: "r")
        defer { try? files.removeItem(atPath: "\(folder)/Checkpoints") }
        let step = try #require(Int(bundledStep.dropFirst("step-".count)))
        let checkpoint = try run.commit(step: step, keep: 1) {
          try files.copyItem(atPath: "\(folder)/state.json", toPath: "\($0)/state.json")
        }
        _ = try CheckpointSummary.state(of: checkpoint)
      }),
  ]

  private static var bundledStep: String {
    get throws {
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(packageFolder)/Checkpoints/vae")
      return try #require(names.first { $0.hasPrefix("step-") })
    }
  }

  /// The small pictures from the tests of the decoders.
  private static func images(_ kind: String) throws -> [[UInt8]] {
    let folder = "\(packageFolder)/Tests/EaselImagesTests/Fixtures"
    return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().filter { $0.hasSuffix(".\(kind)") }
      .map { Array(try contents("\(folder)/\($0)")) }.filter { $0.count < 20_000 }
  }

  /// A PNG with correct checksums for its chunks, as far as chunks can be recognised.
  @Sendable private static func withChecksums(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    var offset = 8
    while offset + 12 <= bytes.count {
      let length = bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
      let end = offset + 8 + length
      guard end + 4 <= bytes.count else { break }
      let body = Array(bytes[offset + 4..<end])
      let checksum = UInt32(crc32(0, body, UInt32(body.count)))
      for byte in 0..<4 { bytes[end + byte] = UInt8(truncatingIfNeeded: checksum >> UInt32(24 - 8 * byte)) }
      offset = end + 4
    }
    return bytes
  }
}
