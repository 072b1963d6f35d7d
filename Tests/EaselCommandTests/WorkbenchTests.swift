import EaselKit
import EaselTestSupport
import Foundation
import Synchronization
import Testing

/// Requests answered without a process, compared with the verbs that make the same.
@Suite(.serialized) struct WorkbenchTests {
  /// A workspace with a tiny model of each kind, trained through the library.
  private static func workspace() throws -> Program {
    let program = try Program()
    try program.writeImages("images")
    try program.writeImages("Data/a", channels: 3)
    try program.writeImages("Data/b", count: 44, channels: 3)
    let small = ["batch-size=8", "warmup-steps=0"]
    let runs: [(preset: String, data: String, dataB: String?, settings: [String])] = [
      ("vae", "images", nil, ["base-channels=8", "latent=2"]),
      (
        "diffusion-small", "images", nil,
        ["channels=8,16", "groups=4", "attention-levels=1", "sampler-steps=4", "conditional=true"]
      ),
      ("denoising-autoencoder", "images", nil, ["base-channels=8"]),
      ("masked-autoencoder", "images", nil, ["width=16", "decoder-width=16", "depth=1", "decoder-depth=1"]),
      ("cyclegan", "a", "b", ["generator-width=4", "discriminator-width=4", "residual-blocks=1", "batch-size=2"]),
      ("classifier", "images", nil, ["base-channels=8", "features=8"]),
    ]
    try TensorThread.run {
      let bench = try Workbench(program.workspace)
      for run in runs {
        let answer = try bench.run(
          TrainRequest {
            ($0.preset, $0.run, $0.data, $0.dataB) = (run.preset, run.preset, run.data, run.dataB)
            if run.data == "images" { $0.data = program.path("images") }
            ($0.settings, $0.length.steps, $0.seed) = (small + run.settings, 2, 3)
          })
        #expect(answer.step == 2 && answer.isComplete)
      }
    }
    return program
  }

  /// Makes the same with the verb and the library, and again with the verb from the recipe.
  private func compare<Asked: PictureRequest & Sendable>(
    _ program: Program, _ request: Asked, _ arguments: [String]
  ) throws {
    let made = try program.run([Asked.name] + arguments + ["--output", "verb.png", "--threads", "2"])
    #expect(made.status == 0, "\(made.errors)")
    try TensorThread.run {
      let answer = try Workbench(program.workspace).run(Asked(json: JSONEncoder().encode(request)))
      try answer.write(to: program.path("library.png"))
    }
    #expect(try program.bytes("verb.png") == program.bytes("library.png"), "\(Asked.name) \(arguments)")
    let again = try program.run(Asked.name, "--recipe", "verb.png", "--output", "again.png")
    #expect(again.status == 0, "\(again.errors)")
    #expect(try program.bytes("verb.png") == program.bytes("again.png"), "\(Asked.name) --recipe")
  }

  @Test("Each request makes the same bytes as its verb, and as its recipe")
  func sameBytes() throws {
    let program = try Self.workspace()
    func source(_ name: String) -> CheckpointChoice { CheckpointChoice(name) }
    try compare(
      program, SampleRequest { ($0.source, $0.count, $0.sampling.seed) = (source("vae"), 5, 7) },
      ["vae", "--count", "5", "--seed", "7"])
    try compare(
      program,
      SampleRequest { ($0.source, $0.first, $0.count, $0.sampling.label) = (source("diffusion-small"), 3, 2, "odd") },
      ["diffusion-small", "--first", "3", "--count", "2", "--label", "odd"])
    try compare(
      program, InterpolateRequest { ($0.source, $0.rows, $0.frames) = (source("vae"), 2, 5) },
      ["vae", "--rows", "2", "--frames", "5"])
    try compare(
      program, InterpolateRequest { ($0.source, $0.along, $0.frames) = (source("vae"), .plane, 4) },
      ["vae", "--along", "plane", "--frames", "4"])
    try compare(
      program,
      InterpolateRequest {
        ($0.source, $0.frames) = (source("denoising-autoencoder"), 3)
        $0.input.images = [program.path("images/even/0.png"), program.path("images/odd/1.png")]
      }, ["denoising-autoencoder", "--frames", "3", "--images", "images/even/0.png", "images/odd/1.png"])
    try compare(
      program, ReconstructRequest { ($0.source, $0.count) = (source("vae"), 3) }, ["vae", "--count", "3"])
    try compare(
      program,
      DenoiseRequest { ($0.source, $0.count, $0.noise) = (source("denoising-autoencoder"), 2, 0.2) },
      ["denoising-autoencoder", "--count", "2", "--noise", "0.2"])
    try compare(
      program, InpaintRequest { ($0.source, $0.count, $0.mask) = (source("masked-autoencoder"), 2, "left") },
      ["masked-autoencoder", "--count", "2", "--mask", "left"])
    try compare(
      program, TranslateRequest { ($0.source, $0.count, $0.direction) = (source("cyclegan"), 2, "b-to-a") },
      ["cyclegan", "--count", "2", "--direction", "b-to-a"])
  }

  @Test("A single translation, a data set's sheet and an evaluation's sheet are made again from their recipes")
  func otherRecipes() throws {
    let program = try Self.workspace()
    func run(_ arguments: String...) throws -> Program.Result {
      let result = try program.run(arguments)
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      return result
    }
    _ = try run("translate", "cyclegan", "--folder", "all", "--count", "4")
    let files = program.contents.filter { $0.hasPrefix("all/") && $0.hasSuffix(".png") }.sorted()
    #expect(files.count == 4)
    _ = try run("translate", "--recipe", files[2], "--output", "again.png")
    #expect(try program.bytes(files[2]) == program.bytes("again.png"))

    _ = try run("data", "grid", "a", "--count", "6", "--output", "grid.png")
    _ = try run("data", "grid", "--recipe", "grid.png", "--output", "again.png")
    #expect(try program.bytes("grid.png") == program.bytes("again.png"))

    let asked = ["--count", "24", "--references", "24", "--dimensions", "4", "--features", "pixels"]
    let judged = try program.run(["evaluate", "vae", "--output", "sheet.png"] + asked)
    #expect(judged.status == 0, "\(judged.errors)")
    let again = try run("evaluate", "--recipe", "sheet.png", "--output", "again.png")
    #expect(try program.bytes("sheet.png") == program.bytes("again.png"))
    func figures(_ text: String) -> Substring { text.prefix { $0 != "d" } }
    #expect(figures(again.output) == figures(judged.output))

    // A picture of files that have changed is not made again from others.
    _ = try run("reconstruct", "vae", "--images", "images/even/0.png", "--output", "one.png")
    try FileManager.default.removeItem(atPath: program.path("images/even/0.png"))
    try FileManager.default.copyItem(
      atPath: program.path("images/odd/1.png"), toPath: program.path("images/even/0.png"))
    let other = try program.run("reconstruct", "--recipe", "one.png", "--output", "again.png")
    #expect(other.status == 65 && other.errors.contains("expected the images with SHA-256"), "\(other.errors)")
    for verb in [["evaluate"], ["data", "grid"]] {
      let picture = verb == ["evaluate"] ? "sheet.png" : "grid.png"
      let both = try program.run(verb + ["--recipe", picture, "--count", "3"])
      #expect(both.status == 64 && both.errors.contains("--count: with --recipe"), "\(both.errors)")
    }
    let typed = try program.run("reconstruct", "--recipe", "one.png", "--count", "3")
    #expect(typed.status == 64 && typed.errors.contains("--count: with --recipe"), "\(typed.errors)")
  }

  @Test("Every other request can be answered without a process")
  func answers() throws {
    let program = try Self.workspace()
    try TensorThread.run {
      let bench = try Workbench(program.workspace)
      #expect(try bench.run(RunsRequest()).runs.map(\.name).contains("vae"))
      #expect(try bench.run(DataListRequest()).datasets.map(\.name).contains("a"))
      #expect(try bench.run(DataInfoRequest { $0.choice.data = "a" }).channels == 3)
      #expect(try bench.run(DataGridRequest { ($0.choice.data, $0.count) = ("a", 3) }).pictures.count == 3)
      let packed = try bench.run(DataPackRequest { ($0.choice.data, $0.output) = ("a", program.path("packed")) })
      #expect(packed.training > 0)
      #expect(try bench.run(VerifyRequest { $0.checkpoint = "vae" }).problems.isEmpty)
      guard case .checkpoint(_, let summary) = try bench.run(InspectRequest { $0.subject = "vae" }) else {
        Issue.record("expected a checkpoint")
        return
      }
      #expect(summary.state.step == 2)
      let exported = try bench.run(ExportRequest { ($0.checkpoint, $0.output) = ("vae", program.path("small")) })
      #expect(exported.bytes > 0)
      #expect(try bench.run(DoctorRequest()).threads > 0)
      #expect(try bench.run(ResumeRequest { ($0.run, $0.length.steps) = ("vae", 3) }).step == 3)
      let worth = try bench.run(
        EvaluateRequest { ($0.source.checkpoint, $0.likelihood, $0.count) = ("vae", true, 3) })
      #expect(worth.likelihood?.images == 3)
      guard
        case .preset(let speed) = try bench.run(
          BenchRequest {
            ($0.preset, $0.steps, $0.settings) = ("autoencoder", 1, ["base-channels=8"])
            ($0.batchSize, $0.imageSize) = ("4", "8")
          })
      else {
        Issue.record("expected a preset's speed")
        return
      }
      #expect(speed.trainImagesPerSecond > 0)
      expectUserError(.usage, "there is no import for emojis", "Did you mean emoji?") {
        try bench.run(DataImportRequest { $0.dataset = "emojis" })
      }
    }
  }

  /// Runs a request and cancels it after it has reported some progress.
  ///
  /// - Returns: the seconds from the cancelling to the end.
  private func secondsToEnd(_ program: Program, _ request: @escaping @Sendable (Workbench) throws -> Void) throws
    -> Double
  {
    try TensorThread.run {
      let cancelled = Mutex<ContinuousClock.Instant?>(nil)
      let ended = try withExtendedLifetime(Flag()) { flag in
        let bench = try Workbench(
          program.workspace,
          observer: Observer(
            progress: { _, fraction in
              if fraction > 0, cancelled.withLock({ $0 }) == nil {
                cancelled.withLock { $0 = .now }
                flag.set()
              }
            }, isCancelled: { flag.isSet }))
        #expect(throws: Cancelled.self) { try request(bench) }
        return ContinuousClock.now
      }
      let began = try #require(cancelled.withLock { $0 })
      return (ended - began) / .seconds(1)
    }
  }

  @Test("A sample, a walk, an encoding and an evaluation end when cancelled, and leave nothing")
  func cancelling() throws {
    let program = try Self.workspace()
    let before = program.contents
    for request: @Sendable (Workbench) throws -> Void in [
      { _ = try $0.run(SampleRequest { ($0.source.checkpoint, $0.count) = ("diffusion-small", 1000) }) },
      {
        _ = try $0.run(InterpolateRequest { ($0.source.checkpoint, $0.frames, $0.rows) = ("diffusion-small", 100, 10) })
      },
      { _ = try $0.run(ReconstructRequest { ($0.source.checkpoint, $0.count) = ("diffusion-small", 8) }) },
      {
        _ = try $0.run(
          EvaluateRequest {
            ($0.source.checkpoint, $0.features, $0.dimensions) = ("diffusion-small", .pixels, 4)
            ($0.count, $0.references) = (2000, 24)
          })
      },
    ] { #expect(try secondsToEnd(program, request) < 1) }
    #expect(program.contents == before)
  }
}

private final class Flag: Sendable {
  private let state = Mutex(false)
  var isSet: Bool { state.withLock { $0 } }
  func set() { state.withLock { $0 = true } }
}
