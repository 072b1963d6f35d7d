import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// Pictures that are made again, and animations.
@Suite(.serialized) struct PictureCommandTests {
  /// The number of frames that an animated PNG announces.
  private func frames(_ bytes: Data) throws -> Int {
    let place = try #require(bytes.range(of: Data("acTL".utf8))).upperBound
    return bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
  }

  @Test("sample --recipe makes the same file again, from the checkpoint that made it")
  func recipes() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "r", steps: 2, ["--set", "conditional=true", "--set", "ema-decay=0.9"])
    let old = "Checkpoints/r/step-00000002"
    for (name, arguments) in [
      ("all", ["--count", "5", "--columns", "3", "--seed", "4", "--steps", "3", "--sampler", "dpm++", "--eta", "0.5"]),
      ("label", ["--count", "3", "--label", "1", "--guidance", "2.5", "--weights", "raw", "--precision", "float32"]),
      ("plain", ["--threads", "1"]),
    ] {
      let made = try program.run(["sample", old, "--output", "\(name).png"] + arguments)
      #expect(made.status == 0, "\(made.errors)")
    }
    // A newer checkpoint of the same run is not what the pictures came from.
    #expect(try program.run("resume", "r", "--steps", "3").status == 0)
    for name in ["all", "label", "plain"] {
      let again = try program.run("sample", "--recipe", "\(name).png", "--output", "again.png")
      #expect(again.status == 0, "\(again.errors)")
      #expect(try program.bytes("again.png") == program.bytes("\(name).png"), "\(name)")
    }
    #expect(try program.run("sample", old, "--recipe", "all.png", "--output", "again.png").status == 0)

    #expect(try program.run("reconstruct", "r", "--output", "other.png").status == 0)
    try Image(width: 2, height: 2, channels: 1, pixels: [1, 2, 3, 4]).write(to: program.path("foreign.png"))
    for (arguments, status, message) in [
      (["--recipe", "all.png", "--count", "3"], 64, "--count: with --recipe"),
      (["--recipe", "other.png"], 65, "found one by easel reconstruct"),
      (["--recipe", "foreign.png"], 65, "foreign.png: expected a picture with Easel's recipe"),
      (["--recipe", "nowhere.png"], 66, "nowhere.png"), (["r", "--recipe", "all.png"], 65, "made from checkpoint"),
      ([], 64, "expected a checkpoint"),
    ] {
      let refused = try program.run(["sample"] + arguments)
      #expect(refused.status == Int32(status) && refused.errors.contains(message), "\(arguments): \(refused.errors)")
    }
    try FileManager.default.removeItem(atPath: program.path("Checkpoints/r"))
    let lost = try program.run("sample", "--recipe", "all.png")
    #expect(lost.status == 66 && lost.errors.contains("which is not here"), "\(lost.errors)")
  }

  @Test("sample --recipe makes one of many pictures again, and a film, byte for byte")
  func recipesOfParts() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "r", steps: 2, ["--set", "conditional=true"])
    let made = try program.run(
      "sample", "r", "--count", "20", "--columns", "5", "--seed", "3", "--individual", "all", "--animate", "film.png",
      "--output", "grid.png")
    #expect(made.status == 0, "\(made.errors)")
    for name in ["all/00000.png", "all/00003.png", "all/00017.png", "film.png", "grid.png"] {
      let again = try program.run("sample", "--recipe", name, "--output", "again.png")
      #expect(again.status == 0, "\(again.errors)")
      #expect(try program.bytes("again.png") == program.bytes(name), "\(name)")
    }
    #expect(try program.bytes("all/00003.png") != program.bytes("all/00017.png"))
    // Further outputs may be requested beside a recipe, and are written too.
    let more = try program.run(
      "sample", "--recipe", "grid.png", "--array", "a.npy", "--animate", "again-film.png", "--output", "again.png")
    #expect(more.status == 0 && program.contents.contains("a.npy"), "\(more.errors)")
    #expect(try program.bytes("again.png") == program.bytes("grid.png"))
    #expect(try program.bytes("again-film.png") == program.bytes("film.png"))
    let wrong = try program.run("interpolate", "r", "--output", "walk.png")
    #expect(wrong.status == 0, "\(wrong.errors)")
    let refused = try program.run("sample", "--recipe", "walk.png")
    #expect(refused.status == 65 && refused.errors.contains("found one by easel interpolate"), "\(refused.errors)")
  }

  @Test("A walk takes steps, a sampler, labels row by row and guidance, and its recipe records them")
  func walksAsAsked() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "r", steps: 2, ["--set", "conditional=true"])
    func walk(_ arguments: String...) throws -> Image {
      let result = try program.run(
        ["interpolate", "r", "--frames", "2", "--rows", "2", "--seed", "5", "--output", "walk.png"] + arguments)
      #expect(result.status == 0, "\(result.errors)")
      return try Image.read(program.path("walk.png"))
    }
    let options = ["--steps", "3", "--sampler", "heun", "--label", "1", "--guidance", "2.5"]
    let plain = try walk()
    let steered = try walk("--steps", "3", "--sampler", "heun", "--label", "1", "--guidance", "2.5")
    let recipe = try program.run("inspect", "walk.png").output
    for part in ["Steps: 3", "Sampler: heun", "Label: ", "Guidance: 2.5", "Seed: 5"] { #expect(recipe.contains(part)) }
    #expect(plain.size == steered.size && plain.pixels != steered.pixels)
    // Both ends of the walks are the images that sample draws from these noises.
    let sampled = try program.run(
      ["sample", "r", "--count", "4", "--columns", "2", "--seed", "5", "--output", "grid.png"] + options)
    #expect(sampled.status == 0, "\(sampled.errors)")
    #expect(try Image.read(program.path("grid.png")) == steered)
    // Row 0 shows class 0, row 1 class 1.
    let turns = try walk("--label", "0,1")
    let second = try walk("--label", "1")
    let half = turns.pixels.count / 2
    #expect(turns.pixels[half...] == second.pixels[half...] && turns.pixels[..<half] != second.pixels[..<half])
    for (arguments, message) in [
      (["--sampler", "ddpm"], "--sampler"), (["--eta", "1"], "--eta"), (["--guidance", "2"], "--guidance"),
      (["--steps", "0"], "--steps"), (["--label", "8"], "--label"),
    ] {
      let refused = try program.run(["interpolate", "r"] + arguments)
      #expect(refused.status == 64 && refused.errors.contains(message), "\(arguments): \(refused.errors)")
    }
  }

  @Test("The way from noise to image, and a walk through codes, are animated PNGs")
  func animations() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "r", steps: 2)
    let sampled = try program.run(
      "sample", "r", "--count", "20", "--columns", "5", "--steps", "6", "--animate", "new/a.png", "--output", "grid.png"
    )
    #expect(sampled.status == 0, "\(sampled.errors)")
    // The noise, six steps, and a pause on the last.
    #expect(try frames(program.bytes("new/a.png")) == 7 + 20)
    let (first, grid) = (try Image.read(program.path("new/a.png")), try Image.read(program.path("grid.png")))
    #expect(first.size == grid.size && first.pixels != grid.pixels)
    #expect(try PNGText.read(program.path("new/a.png"))["parameters"]?.contains("Steps: 6") == true)
    // Watching changes nothing.
    #expect(
      try program.run("sample", "r", "--count", "20", "--columns", "5", "--steps", "6", "--output", "still.png").status
        == 0)
    #expect(try program.bytes("still.png") == program.bytes("grid.png"))

    let walked = try program.run(
      "interpolate", "r", "--frames", "5", "--rows", "3", "--animate", "walk.png", "--output", "walks.png")
    #expect(walked.status == 0, "\(walked.errors)")
    #expect(try frames(program.bytes("walk.png")) == 5 + 3)
    #expect(try Image.read(program.path("walk.png")).size == ImageSize(width: 3 * 14 + 2, height: 14 + 2))

    let trained = try program.run(
      "train", "gan", "--data", "images", "--run", "g", "--steps", "1", "--set", "base-channels=8", "--batch-size", "4")
    #expect(trained.status == 0, "\(trained.errors)")
    for (arguments, status, message) in [
      (["sample", "g", "--animate", "x.png"], 69, "easel interpolate g --animate"),
      (["interpolate", "g", "--along", "plane", "--animate", "x.png"], 64, "--animate"),
      (["sample", "r", "--animate", "images"], 73, "images"),
    ] {
      let refused = try program.run(arguments)
      #expect(refused.status == Int32(status) && refused.errors.contains(message), "\(arguments): \(refused.errors)")
    }
  }

  @Test(
    "Pillow sees every frame, the last as it is in the grid",
    .enabled(if: Python.has("PIL"), "needs Python with Pillow"))
  func pillow() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    try program.trainTinyDiffusion(run: "r", steps: 1)
    let sampled = try program.run(
      "sample", "r", "--count", "6", "--columns", "3", "--steps", "4", "--animate", "a.png", "--output", "grid.png")
    #expect(sampled.status == 0, "\(sampled.errors)")
    let script = """
      import sys
      from PIL import Image
      film, grid = Image.open(sys.argv[1]), Image.open(sys.argv[2])
      frames = []
      for k in range(film.n_frames):
          film.seek(k); frames.append(film.convert("RGB").tobytes())
      # What hardly learned anything may end where its last step begins.
      print(film.n_frames, frames[4] == grid.tobytes(), frames[-1] == grid.tobytes(), len(set(frames)) >= 4)
      """
    let read = try Python.output(script, program.path("a.png"), program.path("grid.png"))
    #expect(read == "25 True True True\n")
  }
}
