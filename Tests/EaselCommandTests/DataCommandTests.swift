import EaselKit
import Foundation
import Testing

extension CommandTests {
  @Test func aPackedDataSetTrainsLikeTheOriginal() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    let packed = try program.run("data", "pack", "images", "--output", "Data/packed", "--json")
    #expect(packed.status == 0, "\(packed.errors)")
    func fingerprint(_ data: String) throws -> String? {
      let result = try program.run("data", "info", data, "--json")
      let fields = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
      return fields?["fingerprint"] as? String
    }
    #expect(try fingerprint("packed") == fingerprint("images"))
    #expect(try program.run("data", "list").output.contains("packed  40 images 12×12×3, 2 classes"))
    // Only one class of two, and both in the other order.
    for (label, output, count) in [("odd", "odd", 20), ("1,even", "turned", 40)] {
      let some = try program.run("data", "pack", "images", "--label", label, "--output", "Data/\(output)")
      #expect(some.status == 0, "\(some.errors)")
      let splits = try DatasetCatalog(searchRoots: [program.workspace]).resolve(output)
      #expect(splits.train.classNames == (output == "odd" ? ["odd"] : ["odd", "even"]))
      #expect(splits.train.count + splits.validation.count == count)
      let images = try DatasetCatalog(searchRoots: []).resolve(program.path("images")).train
      let odd = (0..<images.count).filter { images.labels?[$0] == 1 }.map { images.image(at: $0).pixels }
      let found = (0..<splits.train.count).filter { splits.train.labels?[$0] == 0 }
      #expect(found.map { splits.train.image(at: $0).pixels } == odd && !odd.isEmpty)
    }
    for label in ["od", "0,0", "2"] {
      let refused = try program.run("data", "pack", "images", "--label", label, "--output", "Data/none")
      #expect(refused.status == 64 && !program.contents.contains("Data/none"), "\(refused.errors)")
    }
    let again = try program.run("data", "pack", "images", "--output", "Data/packed")
    #expect(again.status == 73 && again.errors.contains("is there already"))
  }

  @Test(
    "Captions are shown, kept in sheets and made of class names; a folder that gains some is the same data to a run")
  func captions() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    struct Info: Decodable {
      struct Captions: Decodable {
        struct Example: Decodable {
          let picture: String
          let captions: [String]
        }
        let training, validation, count: Int
        let examples: [Example]
        let fingerprint: String
      }
      let fingerprint: String
      let captions: Captions?
    }
    func info(_ arguments: String...) throws -> Info {
      let result = try program.run(["data", "info"] + arguments + ["--json"])
      #expect(result.status == 0, "\(result.errors)")
      return try JSONDecoder().decode(Info.self, from: Data(result.output.utf8))
    }
    let plain = try info("images")
    let trained = try program.run("train", "autoencoder", "--data", "images", "--run", "r", "--steps", "2")
    #expect(plain.captions == nil && trained.status == 0, "\(trained.errors)")
    try "file_name,text\neven/0.png,a \u{1B}[31mred thing\nnone.png,nothing\n".write(
      toFile: program.path("images/metadata.csv"), atomically: true, encoding: .utf8)
    let described = try info("images")
    #expect(described.fingerprint == plain.fingerprint)
    #expect(described.captions?.count == 1 && described.captions?.examples.count ?? 1 <= 1)
    let resumed = try program.run("resume", "r", "--steps", "3")
    #expect(resumed.status == 0, "\(resumed.errors)")
    let shown = try program.run("data", "info", "images")
    #expect(shown.errors.contains("1 captions of images have no picture: none.png"), "\(shown.errors)")
    #expect(shown.errors.contains("pictures of images have no caption"), "\(shown.errors)")
    #expect(!shown.output.contains("\u{1B}"), "\(shown.output)")

    let template = ["--caption-template", "an {} thing|{}"]
    let made = try info("images", template[0], template[1])
    #expect(made.captions?.training == 36 && made.captions?.validation == 4 && made.captions?.count == 80)
    #expect(made.captions?.examples.count == 3)
    let packed = try program.run(["data", "pack", "images", "--output", "Data/packed"] + template)
    #expect(packed.status == 0, "\(packed.errors)")
    #expect(try info("packed").captions?.fingerprint == made.captions?.fingerprint)
    let refused = try program.run("data", "info", "images", "--caption-template", "a thing")
    #expect(refused.status == 64 && refused.errors.contains("--caption-template: expected {}"), "\(refused.errors)")
  }

  @Test("Shapes are drawn once for a seed, and the checker reads them")
  func shapes() throws {
    let program = try Program()
    let made = try program.run("data", "make", "shapes", "--count", "200", "--size", "24", "--json")
    struct Answer: Decodable {
      let output: String
      let training, validation, readable: Int
    }
    let answer = try JSONDecoder().decode(Answer.self, from: Data(made.output.utf8))
    #expect(answer.training + answer.validation == 200 && answer.readable == answer.validation && answer.validation > 5)
    #expect(try program.run("data", "list").output.contains("shapes  200 images 24×24×3"))
    let again = try program.run("data", "make", "shapes", "--count", "200", "--size", "24", "--output", "again")
    #expect(again.status == 0 && again.errors.contains("the checker reads"), "\(again.errors)")
    #expect(try program.bytes("again/train.png") == program.bytes("Data/shapes/train.png"))
    let twice = try program.run("data", "make", "shapes", "--count", "200")
    #expect(twice.status == 73 && twice.errors.contains("is there already"), "\(twice.errors)")
    let unknown = try program.run("data", "make", "shape")
    #expect(unknown.status == 64 && unknown.errors.contains("Known: shapes."), "\(unknown.errors)")
    let small = try program.run("data", "make", "shapes", "--size", "8")
    #expect(small.status == 64 && small.errors.contains("--size: expected 16 to 256"), "\(small.errors)")
  }

  @Test("Training on data with classes in another order is refused with an explanation")
  func anotherOrderOfClassesIsSaid() throws {
    let program = try Program()
    try program.writeImages("images")
    for (order, status) in [("even,odd", 0), ("odd,even", 65)] {
      try? FileManager.default.removeItem(atPath: program.path("Data/packed"))
      #expect(try program.run("data", "pack", "images", "--label", order, "--output", "Data/packed").status == 0)
      let options = ["--batch-size", "4", "--set", "base-channels=8"]
      let result =
        try status == 0
        ? program.run(["train", "autoencoder", "--data", "packed", "--run", "r", "--steps", "1"] + options)
        : program.run("resume", "r", "--steps", "2")
      #expect(result.status == Int32(status), "\(result.errors)")
      #expect(
        status == 0 || result.errors.contains("in another order: even, odd then, odd, even now"), "\(result.errors)")
    }
  }

  @Test("Every verb that reads pictures skips unreadable ones on request, and otherwise names the option")
  func brokenPicturesAreSkippedEverywhere() throws {
    let program = try Program()
    try program.writeImages("images")
    let options = ["--batch-size", "4", "--set", "base-channels=8", "--skip-broken"]
    try FileManager.default.createSymbolicLink(
      atPath: program.path("images/even/a.png"), withDestinationPath: "nowhere.png")
    #expect(mkfifo(program.path("images/odd/b.png"), 0o600) == 0)
    let training = try program.run(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "1"] + options)
    #expect(training.status == 0 && training.errors.contains("2 that cannot be read"), "\(training.errors)")
    // The run's own data are read as in training.
    #expect(try program.run("reconstruct", "r", "--output", "own.png").status == 0)
    for arguments in [
      ["data", "info", "images"], ["data", "grid", "images", "--output", "grid.png"],
      ["data", "pack", "images", "--output", "packed"], ["reconstruct", "r", "--images", "images"],
      ["reconstruct", "r", "--data", "images"],
      ["interpolate", "r", "--data", "images", "--rows", "1"],
      [
        "evaluate", "--images", "images", "--data", "packed", "--features", "pixels", "--dimensions", "4",
        "--resamples", "10",
      ],
    ] {
      let refused = try program.run(arguments)
      #expect(refused.status == 66 && refused.errors.contains("images/even/a.png: no such file"), "\(refused.errors)")
      #expect(refused.errors.contains("--skip-broken"), "\(arguments): \(refused.errors)")
      let result = try program.run(arguments + ["--skip-broken"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      #expect(
        result.errors.contains("images/odd/b.png: expected a file, found a pipe"), "\(arguments): \(result.errors)")
    }
    #expect(try program.run("data", "info", "packed").output.contains("36 for training, 4 held out"))
  }

  @Test func modelsTrainOnTheBundledEmoji() throws {
    let program = try Program()
    let result = try program.run([
      "train", "autoencoder", "--data", "emoji-32", "--run", "emoji", "--steps", "2", "--batch-size", "8", "--set",
      "base-channels=8", "--set", "flip=true", "--set", "jitter-saturation=0.3", "--set", "validation-images=8",
    ])
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("emoji-32, 1615 images 32×32×3, 179 held out"), "\(result.errors)")
    let grid = try program.run("data", "grid", "emoji-32", "--count", "8", "--output", "grid.png")
    #expect(grid.status == 0)
    #expect(try Image.read(program.path("grid.png")).width == 8 * 34 + 2)
  }

  @Test(
    arguments: [
      (["data", "import", "emojis"], 64, "Did you mean emoji?"),
      (["data", "import", "emoji", "--size", "4"], 64, "--size: expected 8 to 128"),
      (["data", "import", "fashion-mnist", "--size", "32"], 64, "--size"),
      (["data", "import", "emoji", "--from", "nowhere"], 66, "nowhere"),
      (["data", "import", "emoji-styles", "--from", "nowhere"], 66, "nowhere"),
      (["data", "pack", "nothing", "--output", "x"], 66, "nothing"),
      (
        ["train", "autoencoder", "--data", "emoji-32", "--set", "jitter-hue=0.6"], 64, "jitter-hue: expected 0 to 0.5"
      ),
      (
        ["train", "autoencoder", "--data", "emoji-32", "--set", "jitter-contrast=nan"], 64, "jitter-contrast: expected"
      ),
    ] as [([String], Int32, String)])
  func mistakesWithDataAreNamed(_ arguments: [String], _ status: Int32, _ message: String) throws {
    let program = try Program()
    let result = try program.run(arguments)
    #expect(result.status == status, "\(result.errors)")
    #expect(result.errors.contains(message), "\(result.errors)")
    let pictures = program.contents.filter { $0 != "Data" }
    #expect(pictures.isEmpty)
  }
}
