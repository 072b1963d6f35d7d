import EaselKit
import Foundation
import Testing

@Suite(.serialized) struct PlotCommandTests {
  private struct Report: Decodable {
    var output: String
    var curves: [PlotAnswer.Summary]
  }

  @Test func lossesOfSeveralRunsAreDrawnOverStepsTimeAndImages() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "one", steps: 3)
    try program.trainTinyDiffusion(run: "two", steps: 2)
    let plain = try program.run("plot", "one", "two")
    #expect(plain.status == 0 && plain.output.contains("Samples/one-plot.png"), "\(plain.errors)")
    #expect(plain.errors.contains("validation-loss") && plain.errors.contains("two"), "\(plain.errors)")
    let picture = try Image.read(program.path("Samples/one-plot.png"))
    #expect(picture.width == 960 && picture.height == 600 && picture.channels == 3)
    for options in [
      ["--by", "images"], ["--by", "time"], ["--log", "both"], ["--smooth", "0.5", "--metric", "loss"],
    ] {
      let result = try program.run(
        ["plot", "one", "two", "--width", "300", "--height", "200", "--output", "p.png"] + options)
      #expect(result.status == 0, "\(options): \(result.errors)")
      #expect(try Image.read(program.path("p.png")).width == 300)
    }
    let report = try JSONDecoder().decode(
      Report.self, from: Data(program.run("plot", "one", "--metric", "loss", "--json").output.utf8))
    let curve = try #require(report.curves.first)
    let lines = try String(contentsOfFile: program.path("Checkpoints/one/metrics.jsonl"), encoding: .utf8)
      .split(separator: "\n")
    #expect(report.curves.count == 1 && curve.run == "one" && curve.metric == "loss" && curve.points == lines.count)
    #expect(curve.minimum <= curve.last && curve.last <= curve.maximum)
    #expect(lines.last?.contains("\(curve.last)") == true, "\(curve) \(lines)")
    let text = try program.run("inspect", "p.png").output
    #expect(text.contains("Runs: one two") && text.contains("Metrics: loss"), "\(text)")
  }

  @Test func whatCannotBeDrawnIsRefused() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "one", steps: 1)
    for (arguments, status, message) in [
      (["nobody"], 66, "no run and no checkpoint folder is named nobody"),
      (["one", "--metric", "los"], 64, "Did you mean loss?"), (["one", "--by", "stop"], 64, "stop"),
      (["one", "--width", "10"], 64, "--width: expected 200 to 8192, found 10"), ([], 64, "run"),
      (["one", "--output", "p.jpg"], 64, "Write --output p.png"),
    ] as [([String], Int32, String)] {
      let result = try program.run(["plot"] + arguments)
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    // A log of an earlier version has no times.
    let path = program.path("Checkpoints/one/metrics.jsonl")
    let log = try String(contentsOfFile: path, encoding: .utf8)
    try log.replacing(#/"elapsed": [0-9.e-]+, /#, with: "").write(toFile: path, atomically: true, encoding: .utf8)
    let old = try program.run("plot", "one", "--by", "time")
    #expect(old.status == 69 && old.errors.contains("has no times"), "\(old.errors)")
    try "{\"step\": 1, \"loss\": -1.0}\n".write(toFile: path, atomically: true, encoding: .utf8)
    let negative = try program.run("plot", "one", "--log", "y")
    #expect(negative.status == 64 && negative.errors.contains("there is no point to draw"), "\(negative.errors)")
    try "nonsense\n".write(toFile: path, atomically: true, encoding: .utf8)
    let damaged = try program.run("plot", "one")
    #expect(damaged.status == 65 && damaged.errors.contains("metrics.jsonl line 1"), "\(damaged.errors)")
    #expect(!program.contents.contains("p.png"))
  }
}
