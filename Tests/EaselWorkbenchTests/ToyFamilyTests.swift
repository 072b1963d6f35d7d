import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// A family from outside Easel, from training to pictures.
@Suite struct ToyFamilyTests {
  /// A workspace with 40 small pictures, each with a bright column and a bright row.
  static func workspace() throws -> ScratchFolder {
    let folder = try ScratchFolder()
    try FileManager.default.createDirectory(atPath: folder.file("Data/crosses"), withIntermediateDirectories: true)
    for index in 0..<40 {
      let pixels = (0..<64).map { place -> UInt8 in place % 8 == index % 8 || place / 8 == index % 5 ? 220 : 30 }
      try Image(width: 8, height: 8, channels: 1, pixels: pixels).write(to: folder.file("Data/crosses/\(index).png"))
    }
    return folder
  }

  private static func request(_ run: String, steps: Int) -> TrainRequest {
    TrainRequest {
      ($0.preset, $0.data, $0.run, $0.seed, $0.length.steps) = (ToyFamily.name, "crosses", run, 3, steps)
      $0.settings = ["latent=6", "learning-rate-decay=constant"]
    }
  }

  @Test("A program's own family trains, resumes and reconstructs, and makes its pictures again from their recipes")
  func life() throws {
    addModelFamily(ToyFamily.self)
    addModelFamily(ToyFamily.self)
    #expect(AnyPreset.all.count { $0.family == ToyFamily.self } == 1)
    let folder = try Self.workspace()
    let path = folder.path
    let (losses, hashes, figures) = try TensorThread.run {
      let bench = try Workbench(path)
      let short = try bench.run(Self.request("in-two", steps: 3))
      _ = try bench.run(ResumeRequest { ($0.run, $0.length.steps) = ("in-two", 150) })
      let long = try bench.run(Self.request("in-one", steps: 150))
      var answers: [PictureAnswer] = []
      for run in ["in-one", "in-two"] {
        let answer = try bench.run(ReconstructRequest { ($0.source.checkpoint, $0.count) = (run, 3) })
        try answer.write(to: "\(path)/\(run).png")
        answers.append(answer)
      }
      let again = try bench.request(ReconstructRequest.self, from: "\(path)/in-one.png")
      try bench.run(again).write(to: "\(path)/again.png")
      let walk = try bench.run(InterpolateRequest { ($0.source.checkpoint, $0.rows, $0.frames) = ("in-one", 2, 3) })
      answers.append(walk)
      return (
        [short.loss, long.loss], answers.map(\.recipe.modelHash), answers.map { $0.figures["psnr"] ?? 0 }
      )
    }
    #expect(losses[1] < losses[0] / 2, "\(losses)")
    // An interrupted run ends with the same weights as the other.
    #expect(hashes[0] != nil && hashes[0] == hashes[1], "\(hashes)")
    #expect(figures[0] > 10 && figures[0] == figures[1], "\(figures)")
    #expect(try contents(folder.file("in-one.png")) == contents(folder.file("again.png")))
  }

  @Test("It can be measured and refuses what it cannot do, like Easel's own families")
  func asked() throws {
    addModelFamily(ToyFamily.self)
    let folder = try Self.workspace()
    let path = folder.path
    try TensorThread.run {
      let bench = try Workbench(path)
      _ = try bench.run(Self.request("tiny", steps: 1))
      let timed = try bench.run(
        BenchRequest { ($0.preset, $0.steps, $0.batchSize, $0.imageSize) = (ToyFamily.name, 1, "4", "8") })
      guard case .preset(let speed) = timed else {
        Issue.record("expected a preset's speed")
        return
      }
      #expect(speed.sampleImagesPerSecond > 0 && speed.parameters == 64 * 4 + 4 + 4 * 64 + 64)
      expectUserError(.unavailable, "toy cannot sample", "It can: interpolate, reconstruct, evaluate.") {
        try bench.run(SampleRequest { $0.source.checkpoint = "tiny" })
      }
      expectUserError(.usage, "latent: expected 1 to 4096, found 0") {
        try bench.run(TrainRequest { ($0.preset, $0.data, $0.settings) = ("toy", "crosses", ["latent=0"]) })
      }
    }
    withExtendedLifetime(folder) {}
  }
}

@Suite struct ArticleTests {
  /// The blocks of Swift of a page.
  private func blocks(_ page: String) throws -> [String] {
    let text = try String(contentsOfFile: "\(packageFolder)/\(page)", encoding: .utf8)
    return text.matches(of: /(?s)```swift\n(.*?)```/).map { String($0.1) }
  }

  @Test("The article's family is the one that is tested, of at most eighty lines")
  func family() throws {
    let file = try String(
      contentsOfFile: "\(packageFolder)/Tests/EaselWorkbenchTests/ToyFamily.swift", encoding: .utf8)
    #expect(try blocks("Sources/EaselKit/EaselKit.docc/AFamilyFromNothing.md").joined(separator: "\n") == file)
    #expect(file.count { $0 == "\n" } <= 80)
  }

  @Test("The first program is the same in both places, of at most fifteen lines")
  func program() throws {
    let first = try blocks("Sources/EaselKit/EaselKit.docc/GettingStarted.md")
    #expect(try first == Array(blocks("Documentation/UsingEaselKit.md").prefix(2)))
    #expect(first[1].count { $0 == "\n" } <= 15)
  }
}
