import EaselKit
import Foundation
import Testing

/// Models of images and texts with the built program.
@Suite(.serialized) struct TextCommandTests {
  private static let tiny =
    [
      "image-encoder=vit", "image-width=16", "image-layers=1", "image-heads=2", "patch=8", "text-width=16",
      "text-layers=1",
    ]
    + ["text-heads=2", "embedding-width=16", "vocabulary-size=560", "warmup-steps=2", "ema-decay=0.9"]

  private static func train(_ program: Program, _ run: String, steps: Int, _ more: [String] = []) throws {
    let settings = (tiny + ["learning-rate-decay=constant"]).flatMap { ["--set", $0] }
    let result = try program.run(
      ["train", "clip", "--run", run, "--steps", String(steps), "--batch-size", "16", "--seed", "3"] + settings + more)
    #expect(result.status == 0, "\(result.errors)")
  }

  private static func fields(_ result: Program.Result) throws -> [String: Any] {
    #expect(result.status == 0, "\(result.errors)")
    return try #require(JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
  }

  @Test("clip is trained, goes on as if it had never stopped, is judged, and finds pictures")
  func endToEnd() throws {
    let program = try Program()
    #expect(try program.run("data", "make", "shapes", "--count", "300", "--size", "16").status == 0)
    try Self.train(program, "whole", steps: 4, ["--data", "shapes"])
    try Self.train(program, "parts", steps: 2, ["--data", "shapes"])
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    for file in ["weights.safetensors", "ema.safetensors", "optimizer.safetensors", "vocab.json", "words.txt"] {
      let name = "step-00000004/\(file)"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"), "\(file)")
    }

    let judged = try Self.fields(program.run("evaluate", "whole", "--count", "8", "--json"))
    let retrieval = try #require(judged["retrieval"] as? [String: Any])
    #expect(retrieval["pairs"] as? Int == 8 && (retrieval["recalls"] as? [Any])?.count == 1)
    #expect(judged["classification"] == nil)

    let first = try Self.fields(
      program.run(
        "search", "whole", "a red dragon", "--count", "6", "--columns", "3", "--output", "found.png", "--json"))
    let figures = try #require(first["figures"] as? [String: Double])
    #expect(figures.count == 6 && (figures["similarity-1"] ?? 0) >= (figures["similarity-6"] ?? 1))
    let sheet = try Image.read(program.path("found.png"))
    #expect(sheet.width == 3 * 18 + 2 && sheet.height == 2 * 18 + 2)
    // A picture is nearest to itself.
    let rows = (2..<18).flatMap { row -> ArraySlice<UInt8> in
      let first = row * sheet.width + 2
      return sheet.pixels[3 * first..<3 * (first + 16)]
    }
    try Image(width: 16, height: 16, channels: 3, pixels: rows).write(to: program.path("one.png"))
    let like = try Self.fields(
      program.run("search", "whole", "--image", "one.png", "--count", "1", "--output", "like.png", "--json"))
    #expect(abs(((like["figures"] as? [String: Double])?["similarity-1"] ?? 0) - 1) < 1e-5)

    let words = try program.run("search", "whole", "a red dragon", "--output", "again.png")
    #expect(words.errors.contains(#"the model was not trained with "dragon""#), "\(words.errors)")
    #expect(words.errors.contains("similarity"))
    #expect(try program.run("search", "--recipe", "found.png", "--output", "same.png").status == 0)
    #expect(try program.bytes("same.png") == program.bytes("found.png"))
    let neither = try program.run("search", "whole")
    #expect(neither.status == 64 && neither.errors.contains("expected a text or --image, found neither"))
  }

  @Test("A prior goes on as if it had never stopped, and a diffusion model draws by its vectors of prompts")
  func prior() throws {
    let program = try Program()
    #expect(try program.run("data", "make", "shapes", "--count", "300", "--size", "16").status == 0)
    try Self.train(program, "words", steps: 3, ["--data", "shapes"])
    let tiny = ["clip=words", "width=16", "layers=1", "heads=2", "warmup-steps=2", "learning-rate-decay=constant"]
    func train(_ run: String, _ steps: Int) throws {
      let result = try program.run(
        ["train", "prior", "--data", "shapes", "--run", run, "--steps", String(steps), "--batch-size", "16"]
          + tiny.flatMap { ["--set", $0] })
      #expect(result.status == 0, "\(result.errors)")
    }
    try train("whole", 4)
    try train("parts", 2)
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    for file in ["weights.safetensors", "ema.safetensors", "optimizer.safetensors"] {
      let name = "step-00000004/\(file)"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"), "\(file)")
    }
    let judged = try Self.fields(program.run("evaluate", "whole", "--count", "8", "--json"))
    #expect((judged["retrieval"] as? [String: Any])?["pairs"] as? Int == 8)

    try program.trainTinyDiffusion(run: "alike", steps: 2, ["--data", "shapes", "--set", "likeness=whole"])
    let drawn = try program.run(
      "sample", "alike", "--prompt", "a red circle", "--negative", "a blue square", "--guidance", "2", "--count", "4",
      "--steps", "3", "--output", "drawn.png")
    #expect(drawn.status == 0, "\(drawn.errors)")
    let chosen = try program.run(
      "sample", "alike", "--prompt", "a red circle", "--best-of", "2", "--clip", "words", "--count", "2", "--steps",
      "2",
      "--output", "best.png")
    #expect(chosen.status == 0, "\(chosen.errors)")
    // The run has a copy of the prior, and that one of clip.
    try FileManager.default.removeItem(atPath: program.path("Checkpoints/words"))
    try FileManager.default.moveItem(
      atPath: program.path("Checkpoints/whole"), toPath: program.path("Checkpoints/words"))
    let other = try program.run("sample", "--recipe", "best.png", "--output", "again.png")
    #expect(other.status == 65 && other.errors.contains("--clip: expected the model"), "\(other.errors)")
    #expect(try program.run("sample", "--recipe", "drawn.png", "--output", "again.png").status == 0)
    #expect(try program.bytes("drawn.png") == program.bytes("again.png"))
    let like = try program.run(
      "sample", "alike", "--like", "drawn.png", "--negative", "a blue square", "--guidance", "2", "--count", "2",
      "--steps", "3", "--output", "like.png")
    #expect(like.status == 0, "\(like.errors)")
    let without = try program.run("train", "prior", "--data", "shapes", "--steps", "1")
    #expect(without.status == 64 && without.errors.contains("easel train clip"), "\(without.errors)")
    try FileManager.default.removeItem(atPath: program.path("Data/shapes"))
    let gone = try program.run("evaluate", "alike", "--captions")
    #expect(gone.status == 66 && gone.errors.contains("easel data make shapes"), "\(gone.errors)")
  }

  @Test("Classes are told by words, and their pictures searched among files")
  func classes() throws {
    let program = try Program()
    try program.writeImages("images", side: 16)
    try Self.train(
      program, "run", steps: 3, ["--data", "images", "--caption-template", "an {} picture|{}", "--set", "accumulate=3"])
    let judged = try Self.fields(program.run("evaluate", "run", "--json"))
    #expect(judged["template"] as? String == "an {} picture|{}" && judged["retrieval"] == nil)
    #expect((judged["classification"] as? [String: Any])?["classNames"] as? [String] == ["even", "odd"])
    #expect(try program.run("evaluate", "run", "--probe").status == 0)
    let found = try program.run(
      "search", "run", "odd", "--images", "images/odd", "--count", "4", "--output", "found.png")
    #expect(found.status == 0, "\(found.errors)")
    for (arguments, status, message) in [
      (["train", "clip", "--data", "images"], 64, "expected images with captions, found none"),
      (["evaluate", "run", "--caption-template", "a picture"], 64, "expected {}"),
      (["search", "run", "odd", "--image", "found.png"], 64, "found both"),
      (["sample", "run"], 69, "It can: search, evaluate"),
    ] {
      let result = try program.run(arguments)
      #expect(result.status == Int32(status) && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
  }
}
