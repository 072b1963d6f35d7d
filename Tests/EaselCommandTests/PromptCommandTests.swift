import EaselKit
import Foundation
import Testing

/// Diffusion models of captions and of latents, with the built program.
@Suite(.serialized) struct PromptCommandTests {
  @Test func promptsStandInColumnsAndRecipesDrawThemAgain() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyCaptionModel(run: "words", steps: 2)
    func sample(_ arguments: [String], to name: String = "picture.png") throws -> Program.Result {
      try program.run(["sample", "words", "--steps", "3", "--output", name] + arguments)
    }
    let two = try sample(["--prompt", "a picture of even", "--prompt", "a picture of odd", "--negative", "a zebra"])
    #expect(two.status == 0, "\(two.errors)")
    #expect(two.errors.contains(#""a zebra": the model was not trained with "zebra""#))
    let grid = try Image.read(program.path("picture.png"))
    // Two prompts, eight rows of 12 × 12 with 2 pixels between.
    #expect(grid.width == 2 * 14 + 2 && grid.height == 8 * 14 + 2)
    let recipe = try program.run("inspect", "picture.png").output
    #expect(
      recipe.contains(#"Prompt: "a picture of even","a picture of odd""#) && recipe.contains(#"Negative: "a zebra""#))
    let again = try program.run("sample", "--recipe", "picture.png", "--output", "again.png")
    #expect(again.status == 0, "\(again.errors)")
    #expect(try Image.read(program.path("again.png")) == grid)

    try "a picture of even\n\n  a picture of odd\n".write(
      toFile: program.path("prompts.txt"), atomically: true, encoding: .utf8)
    #expect(try sample(["--prompts", "prompts.txt", "--negative", "a zebra"], to: "file.png").status == 0)
    #expect(try Image.read(program.path("file.png")) == grid)
    let long = try sample(["--prompt", "odd " + String(repeating: "picture ", count: 40)])
    #expect(long.status == 0 && long.errors.contains("there is only room for"))
    for verb in [
      ["interpolate", "words", "--frames", "3", "--rows", "1", "--steps", "2", "--prompt", "odd"],
      ["translate", "words", "--count", "2", "--prompt", "odd"],
    ] {
      let result = try program.run(verb + ["--output", "verb.png"])
      #expect(result.status == 0, "\(verb): \(result.errors)")
    }
    // The captions are made of the classes' names, as in training.
    let judged = try program.run(
      "evaluate", "words", "--captions", "--count", "3", "--steps", "2", "--negative", "a zebra", "--guidance", "2")
    #expect(judged.status == 0 && judged.output.contains("3 captions of"), "\(judged.output) \(judged.errors)")
    let mixed = try program.run("evaluate", "words", "--captions", "--features", "pixels")
    #expect(mixed.status == 64 && mixed.errors.contains("--features"), "\(mixed.errors)")
  }

  @Test func whatAModelOfCaptionsDoesNotTakeIsRefused() throws {
    let program = try Program()
    try program.writeImages("images")
    let without = try program.trainTinyDiffusion(run: "none", steps: 1, ["--set", "captions=true"])
    #expect(without.status == 64 && without.errors.contains("captions: expected data with captions, found none"))
    try program.trainTinyCaptionModel(run: "words", steps: 1)
    try Data([0x61, 0xff, 0x0a]).write(to: URL(fileURLWithPath: program.path("broken.txt")))
    try Data("\n \n".utf8).write(to: URL(fileURLWithPath: program.path("empty.txt")))
    for (arguments, status, message) in [
      (["--label", "0"], 64, "label"), (["--label", "0", "--prompt", "odd"], 64, "found both"),
      (["--negative", "odd"], 64, "--negative: expected a --prompt"), (["--like", "images/even/0.png"], 64, "--like"),
      (["--prompt", String(repeating: "x", count: 10_001)], 64, "--prompt: expected at most 10000 bytes"),
      (["--prompts", "broken.txt"], 65, "broken.txt: expected UTF-8"), (["--prompts", "empty.txt"], 65, "empty.txt"),
      (["--prompts", "nowhere.txt"], 66, "nowhere.txt"),
    ] as [([String], Int32, String)] {
      let result = try program.run(["sample", "words", "--output", "picture.png"] + arguments)
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    let stray = try program.finish(
      program.start(shell: "\"$easel\" sample words --prompt $'a \\xff' --output picture.png"))
    #expect(stray.status == 64 && stray.errors.contains("expected UTF-8 text"), "\(stray.errors)")
    #expect(!program.contents.contains("picture.png"))
  }

  @Test func aModelOfCaptionsGoesOnExactlyAndKeepsItsVocabulary() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyCaptionModel(run: "whole", steps: 4)
    try program.trainTinyCaptionModel(run: "parts", steps: 2)
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    for name in ["weights.safetensors", "vocab.json", "merges.txt", "words.txt"] {
      let file = "step-00000004/\(name)"
      #expect(try program.bytes("Checkpoints/whole/\(file)") == program.bytes("Checkpoints/parts/\(file)"), "\(name)")
    }
    #expect(try program.run("verify", "whole").status == 0)
    // An export draws the same picture without the run.
    let prompt = ["--prompt", "odd", "--count", "2", "--steps", "2"]
    #expect(try program.run(["sample", "whole", "--output", "run.png"] + prompt).status == 0)
    #expect(try program.run("export", "whole", "--output", "Checkpoints/exported", "--type", "float32").status == 0)
    let exported = try program.run(["sample", "exported", "--output", "exported.png"] + prompt)
    #expect(exported.status == 0, "\(exported.errors)")
    #expect(try Image.read(program.path("run.png")) == Image.read(program.path("exported.png")))
    // A run that starts from its weights keeps its tokens, and knows the words of both.
    let further = try program.run(
      ["train", "diffusion-small", "--data", "images", "--run", "further", "--steps", "1", "--from", "whole"]
        + Program.tinyCaptionSettings + ["--caption-template", "one more {}"])
    #expect(further.status == 0, "\(further.errors)")
    let merges = "merges.txt"
    #expect(
      try program.bytes("Checkpoints/further/step-00000001/\(merges)")
        == program.bytes("Checkpoints/whole/step-00000004/\(merges)"))
    let words = try String(
      contentsOfFile: program.path("Checkpoints/further/step-00000001/words.txt"), encoding: .utf8)
    #expect(words.contains("picture\n") && words.contains("more\n"))
  }

  @Test func otherCaptionsAreNotTakenForThoseOfARun() throws {
    let program = try Program()
    try program.writeImages("images")
    var lines = ""
    for name in program.contents.sorted() where name.hasPrefix("images/") && name.hasSuffix(".png") {
      lines += #"{"file_name": "\#(name.dropFirst("images/".count))", "text": "a square"}"# + "\n"
    }
    let table = program.path("images/metadata.jsonl")
    try lines.write(toFile: table, atomically: true, encoding: .utf8)
    let training = try program.run(
      ["train", "diffusion-small", "--data", "images", "--run", "words", "--steps", "1"] + Program.tinyCaptionSettings)
    #expect(training.status == 0, "\(training.errors)")
    try lines.replacingOccurrences(of: "square", with: "circle").write(toFile: table, atomically: true, encoding: .utf8)
    let refused = try program.run("resume", "words", "--steps", "2")
    #expect(refused.status == 65 && refused.errors.contains("captions of"), "\(refused.errors)")
    try lines.write(toFile: table, atomically: true, encoding: .utf8)
    #expect(try program.run("resume", "words", "--steps", "2").status == 0)
  }

  @Test func aModelOfLatentsDoesWhatTheOthersDo() throws {
    let program = try Program()
    try program.writeImages("images", side: 16, channels: 3)
    let space = try program.run(
      "train", "autoencoder-kl", "--data", "images", "--run", "space", "--steps", "3", "--batch-size", "4", "--set",
      "channels=[8, 8]", "--set", "groups=4")
    #expect(space.status == 0, "\(space.errors)")
    let latent = ["--set", "space=space", "--set", "augment=0.2"]
    let training = try program.trainTinyDiffusion(run: "whole", steps: 4, latent)
    #expect(training.status == 0, "\(training.errors)")
    try program.trainTinyDiffusion(run: "parts", steps: 2, latent)
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    let weights = "step-00000004/weights.safetensors"
    #expect(try program.bytes("Checkpoints/whole/\(weights)") == program.bytes("Checkpoints/parts/\(weights)"))
    for (arguments, count) in [
      (["sample", "whole", "--count", "4", "--columns", "4", "--steps", "2", "--animate", "film.png"], 4),
      (["interpolate", "whole", "--frames", "4", "--rows", "1", "--steps", "2"], 4),
      (["reconstruct", "whole", "--count", "4"], 4), (["denoise", "whole", "--count", "4"], 4),
      (["inpaint", "whole", "--count", "4"], 4), (["translate", "whole", "--count", "4", "--columns", "4"], 4),
    ] {
      let result = try program.run(arguments + ["--output", "picture.png"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let picture = try Image.read(program.path("picture.png"))
      #expect(picture.channels == 3 && picture.width == count * 18 + 2, "\(arguments)")
    }
    let timed = try program.run(
      "bench", "diffusion-latent", "--image-size", "16", "--set", "space=space", "--set", "channels=8", "--set",
      "attention-levels=0", "--set", "attention-head-width=0", "--batch-size", "2", "--steps", "1")
    #expect(timed.status == 0 && timed.output.contains("16×16×3"), "\(timed.errors)")
    let missing = try program.trainTinyDiffusion(run: "wrong", steps: 1, ["--set", "space=nowhere"])
    #expect(missing.status == 66 && missing.errors.contains("space: no run and no checkpoint folder is named nowhere"))
    #expect(missing.errors.contains("easel train autoencoder-kl --run nowhere"), "\(missing.errors)")
    let refused = try program.trainTinyDiffusion(run: "wrong", steps: 1, ["--set", "space=whole"])
    #expect(refused.status == 64 && refused.errors.contains("expected a checkpoint for latents of images"))
  }
}

extension Program {
  /// Settings of a diffusion model of captions that is small enough for a test.
  fileprivate static let tinyCaptionSettings =
    ["--batch-size", "4", "--learning-rate", "0.001"]
    + [
      "channels=[8, 16]", "layers-per-block=1", "attention-levels=[1]", "groups=4", "captions=true", "text-width=16",
      "text-layers=1", "text-heads=2", "context-length=12", "vocabulary-size=530", "sampler-steps=4",
      "learning-rate-decay=constant",
    ].flatMap { ["--set", $0] }

  /// Trains a diffusion model of the captions that a template makes of the classes.
  fileprivate func trainTinyCaptionModel(run: String, steps: Int) throws {
    let result = try self.run(
      ["train", "diffusion-small", "--data", "images", "--run", run, "--steps", String(steps)]
        + Self.tinyCaptionSettings + ["--caption-template", "a picture of {}|{}"])
    if result.status != 0 { Issue.record("\(result.errors)") }
  }
}
