import EaselKit
import Foundation
import Testing

/// The built program, end to end. One run at a time: each uses all processors.
@Suite(.serialized) struct CommandTests {
  @Test func trainsAndMakesEveryPictureOfADiffusionModel() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.trainTinyDiffusion(run: "tiny", steps: 3)
    #expect(training.status == 0, "\(training.errors)")
    #expect(training.output == program.path("Checkpoints/tiny/step-00000003") + "\n")
    #expect(try program.run("verify", "tiny").status == 0)

    for (arguments, images, columns) in [
      (["sample", "tiny", "--count", "10", "--columns", "5"], 10, 5),
      (["interpolate", "tiny", "--frames", "4", "--rows", "2"], 8, 4),
      (["reconstruct", "tiny", "--count", "4"], 8, 4),
      (["denoise", "tiny", "--count", "3", "--noise", "0.2"], 9, 3),
    ] {
      let result = try program.run(arguments + ["--output", "picture.png"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let picture = try Image.read(program.path("picture.png"))
      // torchvision's grid: 2 pixels of padding around every image of 12 × 12.
      #expect(picture.width == columns * 14 + 2 && picture.height == images / columns * 14 + 2, "\(arguments)")
      let recipe = try program.run("inspect", "picture.png")
      #expect(recipe.output.contains("Step: 3") && recipe.output.contains("easel \(arguments[0])"))
    }
    let inspection = try program.run("inspect", "tiny", "--json")
    let fields = try JSONSerialization.jsonObject(with: Data(inspection.output.utf8)) as? [String: Any]
    let state = fields?["state"] as? [String: Any]
    #expect(state?["step"] as? Int == 3)
    let data = state?["data"] as? [String: Any]
    #expect(data?["trainingImages"] as? Int == 36 && data?["validationImages"] as? Int == 4)
    let runs = try program.run("runs").output
    #expect(runs.contains(#/tiny +diffusion-small +complete +3 /#), "\(runs)")
    #expect(try Image.read(program.path("Checkpoints/tiny/samples/step-00000003.png")).width == 8 * 14 + 2)
  }

  @Test func theSameSeedGivesTheSameFileAndImageKIsTheSameForEveryCount() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "tiny", steps: 2)
    func sample(_ name: String, _ more: String...) throws {
      let result = try program.run(["sample", "tiny", "--output", "\(name).png"] + more)
      #expect(result.status == 0, "\(result.errors)")
    }
    try sample("first", "--count", "20", "--seed", "5", "--individual", "twenty")
    try sample("again", "--count", "20", "--seed", "5")
    try sample("other", "--count", "20", "--seed", "6")
    try sample("few", "--count", "4", "--seed", "5", "--individual", "four", "--array", "four.npy")
    #expect(try program.bytes("first.png") == program.bytes("again.png"))
    #expect(try program.bytes("first.png") != program.bytes("other.png"))
    for index in 0..<4 {
      let name = String(format: "%05d.png", index)
      let (few, many) = (try Image.read(program.path("four/" + name)), try Image.read(program.path("twenty/" + name)))
      #expect(few == many)
    }
    #expect(try NPYArray(path: program.path("four.npy")).shape == [4, 12, 12, 1])
    // Training again with the same seed gives the same weights, byte for byte.
    try program.trainTinyDiffusion(run: "twin", steps: 2)
    let weights = "step-00000002/weights.safetensors"
    #expect(try program.bytes("Checkpoints/tiny/\(weights)") == program.bytes("Checkpoints/twin/\(weights)"))
  }

  @Test func stoppingAndResumingChangesNothing() throws {
    let program = try Program()
    try program.writeImages("images")
    // A schedule that ends with the training would be different for three steps.
    try program.trainTinyDiffusion(run: "whole", steps: 6, ["--set", "schedule-steps=6"])
    try program.trainTinyDiffusion(run: "parts", steps: 3, ["--set", "schedule-steps=6"])
    let resumed = try program.run("resume", "parts", "--steps", "6")
    #expect(resumed.status == 0, "\(resumed.errors)")
    for file in ["weights", "ema", "optimizer"] {
      let name = "step-00000006/\(file).safetensors"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"), "\(file)")
    }
    let further = try program.run("resume", "parts", "--steps", "6")
    #expect(further.status == 64 && further.errors.contains("step 6 already"))
  }

  @Test func aSignalSavesAndSaysHowToGoOn() throws {
    let program = try Program()
    try program.writeImages("images")
    let running = try program.start(
      ["train", "autoencoder", "--data", "images", "--run", "long", "--steps", "1000000", "--batch-size", "8"])
    try program.wait(running, untilStep: 1, of: "long")
    running.process.interrupt()
    let result = try program.finish(running)
    #expect(result.status == 130)
    #expect(result.errors.contains("easel resume long"))
    #expect(try program.run("verify", "long").status == 0)
  }

  @Test func overwritingDeletesARunUnlessItIsBeingTrained() throws {
    let program = try Program()
    try program.writeImages("images")
    let arguments = ["train", "autoencoder", "--data", "images", "--run", "same", "--batch-size", "8", "--steps"]
    #expect(try program.run(arguments + ["2"]).status == 0)
    #expect(try program.run(arguments + ["1", "--overwrite"]).status == 0)
    #expect(!program.contents.contains("Checkpoints/same/step-00000002"))
    #expect(program.contents.contains("Checkpoints/same/step-00000001"))

    let running = try program.start(["resume", "same", "--steps", "1000000"])
    try program.wait(running, untilStep: 2, of: "same")
    let refused = try program.run(arguments + ["1", "--overwrite"])
    #expect(refused.status != 0 && refused.errors.contains("same"), "\(refused.errors)")
    #expect(program.contents.contains("Checkpoints/same/step-00000001"))
    running.process.interrupt()
    #expect(try program.finish(running).status == 130)
  }

  @Test func anAutoencoderOnColourImagesOfAnotherSize() throws {
    let program = try Program()
    try program.writeImages("images", side: 20, channels: 3)
    let training = try program.run(
      "train", "autoencoder", "--data", "images", "--image-size", "16x13", "--steps", "2", "--run", "colour",
      "--set", "base-channels=8", "--batch-size", "8")
    #expect(training.status == 0, "\(training.errors)")
    let picture = try program.run("reconstruct", "colour", "--count", "2", "--output", "picture.png")
    #expect(picture.status == 0, "\(picture.errors)")
    let image = try Image.read(program.path("picture.png"))
    #expect(image.channels == 3 && image.width == 2 * 18 + 2 && image.height == 2 * 15 + 2)
    // An autoencoder draws no new images, and says what it can do.
    let sample = try program.run("sample", "colour")
    #expect(sample.status == 69 && sample.errors.contains("interpolate, reconstruct"))
    // Interpolation between two files, and weights used by another run.
    let files = ["images/even/0.png", "images/odd/1.png"]
    #expect(
      try program.run(["interpolate", "colour", "--frames", "3", "--output", "walk.png", "--images"] + files).status
        == 0)
    let built = try program.run(
      "train", "autoencoder", "--data", "images", "--image-size", "16x13", "--steps", "1", "--run", "on-top",
      "--set", "base-channels=8", "--from", "colour", "--batch-size", "8")
    #expect(built.status == 0, "\(built.errors)")
  }

  @Test func conditionalDiffusionTakesLabels() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "labels", steps: 2, ["--set", "conditional=true"])
    let odd = ["sample", "labels", "--count", "2", "--label", "1", "--guidance", "2", "--output", "odd.png"]
    #expect(try program.run(odd).status == 0)
    let none = try program.run("sample", "labels", "--label", "2")
    #expect(none.status == 64 && none.errors.contains("expected 0 to 1"))

    // Classes by name, in the requested order, one column each.
    let turned = try program.run(
      "sample", "labels", "--count", "4", "--label", "odd, even", "--guidance", "2", "--output", "turned.png")
    #expect(turned.status == 0, "\(turned.errors)")
    let pictures = try ["odd.png", "turned.png"].map { try Image.read(program.path($0)) }
    #expect(pictures[1].width == 2 * 14 + 2 && pictures[1].height == 2 * 14 + 2)
    #expect(try program.run("inspect", "turned.png").output.contains("Label: odd,even, Label number: 1,0"))
    let first = pictures.map { picture in
      (2..<14).flatMap { row in (2..<14).map { picture.pixels[row * picture.width + $0] } }
    }
    #expect(first[0] == first[1])
    #expect(try program.run("sample", "--recipe", "turned.png", "--output", "again.png").status == 0)
    #expect(try program.bytes("again.png") == program.bytes("turned.png"))
    let unknown = try program.run("sample", "labels", "--label", "od")
    #expect(
      unknown.status == 64 && unknown.errors.contains("Did you mean odd? Known: 0 even, 1 odd."), "\(unknown.errors)")
    #expect(try program.run("inspect", "labels").output.contains("classes     0 even, 1 odd"))
  }

  @Test("Classes whose names are numbers are chosen by name, in recipes too")
  func classesThatAreNumbers() throws {
    let program = try Program()
    try program.writeImages("images")
    for name in ["12", "2", "1"] {
      try FileManager.default.copyItem(atPath: program.path("images/odd"), toPath: program.path("months/\(name)"))
    }
    try program.trainTinyDiffusion(run: "r", steps: 2, ["--data", "months", "--set", "conditional=true"])
    func draw(_ label: String) throws -> [UInt8] {
      let result = try program.run(
        "sample", "r", "--count", "1", "--guidance", "8", "--label", label, "--output", "one.png")
      #expect(result.status == 0, "\(result.errors)")
      return try Image.read(program.path("one.png")).pixels
    }
    // In numerical order, from 0.
    for (name, number) in [("1", 0), ("2", 1), ("12", 2)] {
      let drawn = try draw(name)
      #expect(try drawn == draw("#\(number)"))
      #expect(try program.run("inspect", "one.png").output.contains("Label: \(name), Label number: \(number)"))
    }
    #expect(try Set([draw("1"), draw("2"), draw("12")]).count == 3)
    for label in ["0", "02", "3"] {
      let refused = try program.run("sample", "r", "--label", label)
      #expect(refused.status == 64 && refused.errors.contains("Known, by name: 1, 2, 12."), "\(refused.errors)")
    }
    let beyond = try program.run("sample", "r", "--label", "#3")
    #expect(beyond.status == 64 && beyond.errors.contains("expected 0 to 2, found 3"), "\(beyond.errors)")

    // A recipe of a version that wrote only numbers.
    let drawn = try draw("12,1")
    let text = try PNGText.read(program.path("one.png"))
    let recipe = try #require(text["easel"])
    let old = recipe.replacing(#""label number":"2,0","#, with: "").replacing(
      #""label":"12,1""#, with: #""label":"2,0""#
    ).replacing(#/"request":\{[^}]*\},/#, with: "")
    #expect(old.contains(#""label":"2,0""#) && !old.contains("label number") && !old.contains("request"))
    for (name, recipe) in [("new", recipe), ("old", old)] {
      try Image.read(program.path("one.png")).write(to: program.path("\(name).png"), text: ["easel": recipe])
      let again = try program.run("sample", "--recipe", "\(name).png", "--output", "again.png")
      #expect(again.status == 0, "\(again.errors)")
      #expect(try Image.read(program.path("again.png")).pixels == drawn, "\(name)")
    }
  }

  @Test("Classes without training images are reported, not drawn by default, and refused")
  func classesWithoutImages() throws {
    let program = try Program()
    let folder = program.path("letters")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    func write(_ name: String, _ bytes: [UInt8]) throws {
      try Data([0, 0, 8] + bytes).write(to: URL(fileURLWithPath: "\(folder)/emnist-letters-train-\(name)-ubyte"))
    }
    try write("images-idx3", [3, 0, 0, 0, 20, 0, 0, 0, 12, 0, 0, 0, 12] + (0..<20 * 144).map { UInt8($0 % 251) })
    try write("labels-idx1", [1, 0, 0, 0, 20] + (0..<20).map { $0 % 2 == 0 ? 1 : 4 })
    let training = try program.trainTinyDiffusion(
      run: "r", steps: 1, ["--data", "letters", "--set", "conditional=true"])
    #expect(
      training.errors.contains("3 of 5 classes have no images for training: 0, 2, 3"), "\(training.errors)")
    #expect(try program.run("sample", "r", "--output", "all.png").status == 0)
    #expect(try Image.read(program.path("all.png")).width == 2 * 14 + 2)
    #expect(try program.run("sample", "r", "--label", "1,4", "--output", "both.png").status == 0)
    #expect(try Image.read(program.path("all.png")).pixels == Image.read(program.path("both.png")).pixels)
    for verb in ["sample", "translate"] {
      let refused = try program.run(verb, "r", "--label", "3")
      #expect(refused.status == 64, "\(refused.errors)")
      #expect(refused.errors.contains("no image for training was of the class 3\nKnown: 1, 4."), "\(refused.errors)")
    }
  }

  // MARK: Mistakes of a person

  @Test(
    arguments: [
      (["train", "autoencoder", "--data", "nowhere"], 66, "no data set of this name"),
      (["train", "autoencoder", "--data", "cut"], 65, "cut/t10k-images-idx3-ubyte"),
      (["train", "autoencoder", "--data", "text"], 65, "text/note.png"),
      (["train", "autoencoder", "--data", "broken"], 65, "broken/even/broken.png"),
      (["train", "autoencoder", "--data", "images", "--batch-size", "-3"], 64, "batch-size: expected 1 to"),
      (["train", "autoencoder", "--data", "images", "--batch-size", "many"], 64, "many"),
      (["train", "autoencoder", "--data", "images", "--learning-rate", "nan"], 64, "learning-rate: expected"),
      (["train", "autoencoder", "--data", "images", "--minutes", "0"], 64, "--minutes: expected"),
      (["train", "autoencoder", "--data", "images", "--threads", "0"], 64, "--threads: expected"),
      (["train", "autoencoder", "--data", "images", "--image-size", "0"], 64, "image"),
      (["train", "difusion-smal"], 64, "Did you mean diffusion-small?"),
      (["train", "autoencoder", "--set", "latnt=3"], 64, "Did you mean latent?"),
      (["train", "autoencoder", "--set", "architecture=circular"], 64, "one of convolutional, linear"),
      (["train", "autoencoder", "--data", "images", "--run", "../outside"], 64, "run name"),
      (["train", "autoencoder", "--data", "images", "--run", "/absolute"], 64, "run name"),
      (["train", "autoencoder", "--data", "images", "--workspace", "/proc"], 73, "/proc/Checkpoints"),
      (["train", "autoencoder", "--config", "none.yaml"], 66, "none.yaml"),
      (
        ["train", "vae", "--config", "diffusion.yaml"], 64,
        "--config: diffusion.yaml has settings of diffusion-small, expected those of vae"
      ),
      (
        ["train", "autoencoder", "--data", "images", "--set", "nesterov=true"], 64,
        "nesterov: true would change nothing"
      ),
      (["sample", "nobody"], 66, "nobody"),
      (["resume", "nobody"], 66, "nobody"),
      (["inspect", "text/note.png"], 65, "text/note.png"),
      (["smaple", "gan"], 64, "Did you mean sample?"), (["data", "gird"], 64, "Did you mean grid?"),
      (["help", "reconstuct"], 64, "Did you mean reconstruct?"), (["zzzzzzz"], 64, "Known: train, "),
      (["data", "import", "imagenet"], 64, "no import for imagenet"),
      (["frobnicate"], 64, "frobnicate"),
    ] as [([String], Int32, String)])
  func mistakesAreNamedAndNothingIsWritten(_ arguments: [String], _ status: Int32, _ message: String) throws {
    let program = try Program()
    try program.writeImages("images")
    try program.writeImages("broken")
    try Data("hello\n".utf8).write(to: URL(fileURLWithPath: program.path("broken/even/broken.png")))
    for folder in ["cut", "text"] {
      try FileManager.default.createDirectory(atPath: program.path(folder), withIntermediateDirectories: true)
    }
    try Data("hello\n".utf8).write(to: URL(fileURLWithPath: program.path("text/note.png")))
    try Data("preset: diffusion-small\nchannels: [8, 16]\n".utf8)
      .write(to: URL(fileURLWithPath: program.path("diffusion.yaml")))
    let header: [UInt8] = [0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28]
    try Data(header + [1, 2, 3]).write(to: URL(fileURLWithPath: program.path("cut/t10k-images-idx3-ubyte")))
    let before = program.contents
    let result = try program.run(arguments)
    #expect(result.status == status, "\(result.errors)")
    #expect(result.errors.contains(message), "\(result.errors)")
    #expect(result.errors.split(separator: "\n").count <= 4 && !result.errors.contains("Fatal"), "\(result.errors)")
    #expect(result.output.isEmpty)
    #expect(program.contents == before)
  }

  @Test func mistakesWithACheckpoint() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "tiny", steps: 1)
    for (arguments, message) in [
      (["sample", "tiny", "--count", "0"], "--count: expected 1 to"),
      (["sample", "tiny", "--steps", "2000"], "--steps: expected 1 to 1000"),
      (["sample", "tiny", "--sampler", "ddmp"], "Did you mean ddpm?"),
      (["sample", "tiny", "--label", "1"], "without labels"),
      (["sample", "tiny", "--eta", "2"], "--eta: expected 0 to 1"),
      (["sample", "tiny", "--eta", "0.5", "--sampler", "heun"], "--eta: expected the sampler ddim or dpm++"),
      (["denoise", "tiny", "--noise", "nan"], "--noise: expected"),
      (["interpolate", "tiny", "--frames", "1"], "--frames: expected 2 to"),
    ] {
      let before = program.contents
      let result = try program.run(arguments)
      #expect(result.status == 64 && result.errors.contains(message), "\(arguments): \(result.errors)")
      #expect(program.contents == before, "\(arguments)")
    }
    let again = try program.trainTinyDiffusion(run: "tiny", steps: 1)
    #expect(again.status == 73 && again.errors.contains("easel resume tiny"))
    for (arguments, status, message) in [
      (["sample", "tiny", "--output", "/proc/picture.png"], 73, "/proc"),
      (["sample", "tiny", "--output", "Checkpoints"], 73, "expected a file's name, found a folder"),
      (
        ["sample", "tiny", "--output", "Checkpoints/tiny/metrics.jsonl/deeper/picture.png"], 73,
        "tiny/metrics.jsonl, found a file"
      ),
      (["sample", "tiny", "--array", "Checkpoints/tiny/metrics.jsonl/a.npy"], 73, "another place with --array"),
      (["sample", "tiny", "--individual", "Checkpoints/tiny/metrics.jsonl"], 73, "another place with --individual"),
      (["denoise", "tiny", "--images", "nowhere"], 66, "nowhere"),
    ] {
      let before = program.contents
      let result = try program.run(arguments)
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
      #expect(program.contents == before, "\(arguments)")
    }

    // One flipped bit in the only checkpoint: it is named and refused, and nothing is made.
    let file = program.path("Checkpoints/tiny/step-00000001/weights.safetensors")
    var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: file))
    for verb in ["verify", "sample", "resume"] {
      let result = try program.run(verb, "tiny")
      #expect(result.status == 65 && result.errors.contains("weights.safetensors"), "\(verb): \(result.errors)")
    }
  }

  @Test func trainsHelpNamesEveryPreset() throws {
    let help = try Program().run("train", "--help").output
    for preset in AnyPreset.all where bundledFamilies.contains(where: { $0 == preset.family }) {
      #expect(help.contains("  \(preset.name)  "), "\(preset.name)")
    }
  }

  @Test func benchAndDoctorPrintOneJSONObject() throws {
    let program = try Program()
    for arguments in [
      ["bench", "autoencoder", "--batch-size", "4", "--steps", "1", "--json"],
      ["bench", "autoencoder", "--batch-size", "4", "--steps", "1", "--profile", "--json"], ["doctor", "--json"],
      ["data", "list", "--json"], ["runs", "--json"],
    ] {
      let result = try program.run(arguments)
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      #expect(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) is [String: Any], "\(arguments)")
    }
  }

  @Test func aProfileAccountsForTheStep() throws {
    let program = try Program()
    let result = try program.run("bench", "autoencoder", "--batch-size", "16", "--steps", "3", "--profile", "--json")
    let profile = try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any], "\(result.errors)")
    let rows = try #require(profile["rows"] as? [[String: Any]])
    let step = try #require(profile["step"] as? Double)
    let between = try #require(profile["between"] as? Double)
    let sum = rows.reduce(0) { $0 + ($1["milliseconds"] as? Double ?? .nan) }
    #expect(abs(sum + between - step) < 0.01 * step && between >= 0 && between < step / 2)
    let layers = Set(rows.compactMap { $0["layer"] as? String })
    #expect(layers.isSuperset(of: ["encoder.stages.0.conv.weight", "decoder.stages.2.norm.weight", ""]), "\(layers)")
    // [16, 14, 14, 64] from [16, 28, 28, 32] by 3×3 in bfloat16 or float32.
    let stage = rows.first {
      $0["layer"] as? String == "encoder.stages.1.conv.weight" && $0["operation"] as? String == "convolution"
    }
    #expect(abs((stage?["gflop"] as? Double ?? 0) - 2 * 16 * 14 * 14 * 64 * 32 * 9 / 1e9) < 1e-6)
    let shares = rows.compactMap { $0["share_of_alone"] as? Double }
    #expect(shares.count >= 3 * 5 && shares.allSatisfy { $0 > 0 })

    let both = try program.run("bench", "autoencoder", "--operations")
    #expect(both.status == 64 && both.errors.contains("--operations"), "\(both.errors)")
    let nothing = try program.run("bench")
    #expect(nothing.status == 64 && nothing.errors.contains("autoencoder"), "\(nothing.errors)")
  }

  @Test func benchMeasuresImagesOfAnySizeAndRefusesWhatItWouldPassOver() throws {
    let program = try Program()
    let common = ["bench", "autoencoder", "--batch-size", "2", "--steps", "1", "--set", "base-channels=8"]
    let result = try program.run(common + ["--image-size", "20x12", "--channels", "3", "--json"])
    #expect(result.status == 0, "\(result.errors)")
    let fields = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    #expect(fields?["image"] as? String == "20×12×3")
    let profile = try program.run(common + ["--image-size", "20x12", "--profile"])
    #expect(profile.status == 0 && profile.output.contains("20×12×1  batch 2"), "\(profile.errors)")
    for (arguments, message) in [
      (["--set", "image-size=64"], "image-size"), (["--set", "data=emoji-32"], "data"),
      (["--set", "skip-broken=true"], "skip-broken"), (["--set", "preset=vae"], "preset"),
      (["--channels", "2"], "--channels: expected 1 or 3"), (["--image-size", "many"], "many"),
      (["--set", "momentum=0.9"], "would change nothing"),
    ] {
      let refused = try program.run(common + arguments)
      #expect(refused.status == 64 && refused.errors.contains(message), "\(arguments): \(refused.errors)")
    }
  }

  @Test func theConfigurationOfARunRepeatsIt() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "first", steps: 2)
    let result = try program.run(
      "train", "diffusion-small", "--config", "Checkpoints/first/step-00000002/config.yaml", "--run", "second")
    #expect(result.status == 0, "\(result.errors)")
    let weights = "step-00000002/weights.safetensors"
    #expect(try program.bytes("Checkpoints/first/\(weights)") == program.bytes("Checkpoints/second/\(weights)"))
  }
}
