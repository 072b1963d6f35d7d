import EaselKit
import Foundation
import Testing

extension CommandTests {
  /// `easel evaluate`, end to end. The suite runs one program at a time.
  @Suite(.serialized) struct EvaluateCommandTests {
    /// The fields of `evaluate --json` for samples that are tested.
    private struct Report: Decodable {
      struct Evaluation: Decodable {
        struct Extractor: Decodable {
          var name: String
          var dimensions: Int
          var resize: String
        }
        struct Classes: Decodable {
          var names: [String]
          var shares: [Double]
          var labelAccuracy, floorLabelAccuracy: Estimate?
        }
        struct Memory: Decodable {
          var pixels, features: Memorization
          var trainingImages, heldOutImages: Int
        }
        var extractor: Extractor
        var data: String
        var reference: String
        var samples: SampleFigures
        var floor: SampleFigures?
        var classes: Classes?
        var memory: Memory
      }
      var output: String
      var checkpoint: String?
      var samples: [String: String]
      var evaluation: Evaluation
    }

    private struct HeldOut: Decodable {
      struct Classification: Decodable {
        var images: Int
        var accuracy: Estimate
      }
      struct Probe: Decodable {
        var name: String
        var dimensions, trainingImages, testImages: Int
        var accuracy: Estimate
      }
      struct Likelihood: Decodable {
        var images: Int
        var figures: [String: MeanFigure]
      }
      var classification: Classification?
      var probes: [Probe]?
      var likelihood: Likelihood?
    }

    private func decoded<Value: Decodable>(_ type: Value.Type, _ result: Program.Result) throws -> Value {
      #expect(result.status == 0, "\(result.errors)")
      return try JSONDecoder().decode(type, from: Data(result.output.utf8))
    }

    /// 200 pictures in two classes, and a classifier for them.
    private func program() throws -> Program {
      let program = try Program()
      try program.writeImages("images", count: 200)
      let training = try program.run(
        "train", "classifier", "--data", "images", "--run", "classifier", "--steps", "12", "--batch-size", "20",
        "--set", "features=8", "--set", "base-channels=8", "--set", "warmup-steps=2")
      #expect(training.status == 0, "\(training.errors)")
      return program
    }

    @Test("An autoencoder is judged by its reconstructions of held-out images")
    func reconstructions() throws {
      let program = try Program()
      try program.writeImages("images")
      try program.run(
        "train", "autoencoder", "--data", "images", "--run", "coder", "--steps", "20", "--batch-size", "8")
      let judged = try program.run("evaluate", "coder", "--json")
      #expect(judged.status == 0, "\(judged.errors)")
      let report = try JSONSerialization.jsonObject(with: Data(judged.output.utf8)) as? [String: Any]
      let found = report?["reconstruction"] as? [String: Any] ?? [:]
      // The picture of the same images has the same mean.
      let images = try #require(found["images"] as? Int)
      let picture = try program.run("reconstruct", "coder", "--count", String(images), "--json")
      let figures = try JSONSerialization.jsonObject(with: Data(picture.output.utf8)) as? [String: Any]
      let expected = try #require((figures?["figures"] as? [String: Double])?["psnr"])
      let ratio = found["psnr"] as? [String: Double] ?? [:]
      #expect(abs((ratio["mean"] ?? .nan) - expected) < 1e-6 && (ratio["standardError"] ?? 0) > 0)
      let similarity = found["ssim"] as? [String: Double] ?? [:]
      #expect((-1...1).contains(similarity["mean"] ?? .nan))
      let table = try program.run("evaluate", "coder", "--count", "3")
      #expect(table.output.contains("PSNR in dB") && table.output.contains("3 held-out images"), "\(table.output)")
    }

    @Test func samplesOfACheckpointOfAnArrayAndOfAFolderAreJudgedAlike() throws {
      let program = try program()
      try program.trainTinyDiffusion(run: "tiny", steps: 3)
      let options = ["--resamples", "20", "--json"]
      let drawn = try decoded(
        Report.self, program.run(["evaluate", "tiny", "--count", "40", "--seed", "5", "--steps", "3"] + options))
      let evaluation = drawn.evaluation
      #expect(evaluation.samples.count == 40 && evaluation.floor?.count == 20)
      #expect(evaluation.extractor.dimensions == 8 && evaluation.extractor.resize == "none")
      #expect(evaluation.extractor.name.hasPrefix("classifier (classifier, step 12, hash "))
      #expect(evaluation.reference == "40 of 180 training images, chosen by a fixed shuffle")
      #expect(evaluation.classes?.names == ["even", "odd"] && evaluation.classes?.labelAccuracy == nil)
      #expect(evaluation.memory.trainingImages == 180 && evaluation.memory.heldOutImages == 20)
      #expect(drawn.samples["seed"] == "5" && drawn.samples["steps"] == "3" && drawn.checkpoint != nil)
      // 16 samples and four rows of neighbours, each of 12 × 12 with 2 pixels around.
      let sheet = try Image.read(program.path("Samples/tiny-evaluate.png"))
      #expect(sheet.width == 16 * 14 + 2 && sheet.height == 5 * 14 + 2)
      #expect(try program.run("inspect", "Samples/tiny-evaluate.png").output.contains("easel evaluate"))

      try program.run(
        "sample", "tiny", "--count", "40", "--seed", "5", "--steps", "3", "--array", "a.npy", "--individual", "drawn")
      let array = try decoded(
        Report.self, program.run(["evaluate", "--array", "a.npy", "--seed", "5", "--data", "images"] + options))
      #expect(array.evaluation.samples.frechet == evaluation.samples.frechet)
      #expect(array.evaluation.samples.kernel.all == evaluation.samples.kernel.all)
      #expect(array.evaluation.samples.neighbourhoods.coverage == evaluation.samples.neighbourhoods.coverage)
      #expect(array.evaluation.memory.pixels.share == evaluation.memory.pixels.share)
      #expect(array.checkpoint == nil && array.output.hasSuffix("Samples/a-evaluate.png"))
      // The pictures in a folder are in another order, so only intervals may differ.
      let folder = try decoded(
        Report.self, program.run(["evaluate", "--images", "drawn", "--data", "images"] + options))
      let (one, other) = (folder.evaluation.samples.frechet.value, evaluation.samples.frechet.value)
      #expect(abs(one - other) < 1e-6 * abs(other))

      let text = try program.run(
        "evaluate", "tiny", "--count", "40", "--steps", "1", "--features", "pixels", "--dimensions", "6",
        "--resamples", "20", "--output", "here.png")
      #expect(text.status == 0, "\(text.errors)")
      for part in [
        "Fréchet distance", "coverage (k = 5)", "40 samples", "20 held-out", "by heart has 0.900",
        "pixels, 6 principal components of 12×12×1", "20 resamples, seed 0", "Sampler ddim",
      ] { #expect(text.output.contains(part), "\(part) is not in \(text.output)") }
      #expect(text.output.hasSuffix("here.png\n") && !text.output.contains("taken for"))
    }

    @Test func aConditionalModelIsAskedForAllClasses() throws {
      let program = try program()
      try program.trainTinyDiffusion(run: "tiny", steps: 2, ["--set", "conditional=true"])
      let arguments = ["evaluate", "tiny", "--count", "30", "--steps", "2", "--resamples", "20", "--json"]
      let first = try program.run(arguments)
      let report = try decoded(Report.self, first)
      #expect(report.evaluation.classes?.labelAccuracy != nil && report.evaluation.classes?.floorLabelAccuracy != nil)
      // The same byte for byte, except the time.
      func withoutTime(_ text: String) -> String { text.replacing(/"seconds":[^,}]*/, with: "") }
      #expect(try withoutTime(program.run(arguments).output) == withoutTime(first.output))
      #expect(report.samples["label"] == "all in turn")
      let one = try decoded(Report.self, program.run(arguments + ["--label", "1", "--guidance", "2"]))
      #expect(one.samples["label"] == "odd" && one.samples["guidance"] == "2.0")
      let guided = try decoded(Report.self, program.run(arguments + ["--guidance", "2"]))
      #expect(guided.evaluation.samples.frechet != report.evaluation.samples.frechet)
      #expect(one.evaluation.data == "images, class odd only")

      // Labels beside an array.
      try NPYArray(shape: [30, 12, 12, 1], values: .uint8([UInt8](repeating: 9, count: 30 * 144)))
        .write(to: program.path("black.npy"))
      try NPYArray(shape: [30], values: .uint8((0..<30).map { $0 % 2 })).write(to: program.path("labels.npy"))
      let array = try decoded(
        Report.self,
        program.run(
          "evaluate", "--array", "black.npy", "--labels", "labels.npy", "--data", "images", "--resamples", "20",
          "--json"))
      // All are the same picture, so half of them are classified as their label.
      #expect(array.evaluation.classes?.labelAccuracy?.value == 0.5)
      #expect(array.evaluation.samples.neighbourhoods.recall.value == 0)
    }

    @Test func classifiersProbesAndLikelihoods() throws {
      let program = try program()
      let accuracy = try decoded(HeldOut.self, program.run("evaluate", "classifier", "--json")).classification
      #expect(accuracy?.images == 20 && (accuracy?.accuracy.value ?? 2) <= 1)
      #expect(try program.run("evaluate", "classifier").output.contains("20 held-out images of images"))
      let probes = try #require(
        try decoded(
          HeldOut.self, program.run("evaluate", "classifier", "--probe", "--probe-images", "100", "--json")
        ).probes)
      #expect(probes.map(\.name) == ["trained", "untrained (seed 1)", "pixels"])
      #expect(probes.map(\.dimensions) == [8, 8, 144])
      #expect(probes.allSatisfy { $0.trainingImages == 100 && $0.testImages == 20 && $0.accuracy.value <= 1 })

      try program.run("train", "vae", "--data", "images", "--run", "vae", "--steps", "2", "--batch-size", "8")
      let likelihood = try decoded(
        HeldOut.self, program.run("evaluate", "vae", "--importance-samples", "3", "--count", "10", "--json")
      ).likelihood
      let figures = try #require(likelihood?.figures)
      #expect(likelihood?.images == 10)
      let elbo = try #require(figures["elbo"])
      #expect(elbo.standardError > 0 && elbo.mean.isFinite)
      #expect((figures["iwae"]?.mean ?? -.infinity) > elbo.mean)
      #expect(try program.run("evaluate", "vae", "--likelihood").output.contains("± "))
    }

    @Test("If a run's data are missing, others of its size are used, of the run's classes")
    func otherData() throws {
      let program = try Program()
      try program.writeImages("images", count: 60)
      try program.trainTinyDiffusion(run: "tiny", steps: 1)
      try program.run("train", "vae", "--data", "images/even", "--run", "vae", "--steps", "1", "--batch-size", "8")
      try FileManager.default.removeItem(atPath: program.path("images"))
      func evaluate(_ arguments: String...) throws -> Program.Result { try program.run(["evaluate"] + arguments) }
      let lost = try evaluate("tiny", "--count", "30")
      #expect(lost.status == 66, "\(lost.errors)")

      try program.writeImages("Data/more", count: 90)
      let folder = program.path("Data/more/another")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for name in try FileManager.default.contentsOfDirectory(atPath: program.path("Data/more/odd")) {
        try FileManager.default.copyItem(atPath: program.path("Data/more/odd/\(name)"), toPath: "\(folder)/\(name)")
      }
      // The bundled classifier knows other classes, so pixels are used instead.
      let judged = try evaluate(
        "tiny", "--count", "30", "--steps", "1", "--dimensions", "4", "--resamples", "10", "--output", "s.png")
      #expect(judged.status == 0, "\(judged.errors)")
      #expect(judged.errors.contains("taking 2 of the 3 classes of more") && judged.errors.contains("taking pixels"))
      let bounded = try evaluate("vae", "--likelihood", "--count", "4")
      #expect(
        bounded.status == 0 && bounded.errors.contains("taking more, which has the same size"), "\(bounded.errors)")
    }

    @Test func whatCannotBeJudgedIsRefusedInOneLine() throws {
      let program = try Program()
      try program.writeImages("images", count: 60)
      try program.trainTinyDiffusion(run: "tiny", steps: 1)
      try program.run("train", "autoencoder", "--data", "images", "--run", "coder", "--steps", "1", "--batch-size", "8")
      try NPYArray(shape: [30, 12, 12, 1], values: .float32([Float](repeating: 3, count: 30 * 144)))
        .write(to: program.path("bright.npy"))
      for (arguments, status, parts) in [
        // The bundled classifier knows clothes.
        (
          ["tiny", "--count", "30", "--features", "classifier"], 64,
          ["other classes", "T-shirt/top", "even", "--features pixels"]
        ),
        (["tiny", "--features", "pixels", "--count", "30"], 64, ["64 features", "at least 128 samples, found 30"]),
        (
          ["tiny", "--features", "pixels", "--dimensions", "4", "--count", "19"], 64, ["at least 20 samples, found 19"]
        ),
        (["tiny", "--features", "pixels", "--references", "500"], 64, ["--references", "54", "500"]),
        (["coder", "--probe"], 69, ["no features to probe"]), (["coder", "--likelihood"], 69, ["no likelihood"]),
        ([], 64, ["a checkpoint", "none"]), (["tiny", "--array", "x.npy"], 64, ["a checkpoint and --array"]),
        (["--array", "x.npy", "--probe"], 64, ["--probe", "the checkpoint"]),
        (["--array", "none.npy"], 66, ["none.npy"]),
        (["--array", "bright.npy", "--data", "images", "--features", "pixels"], 65, ["0 to 1", "3.0"]),
        (["tiny", "--labels", "x.npy"], 64, ["--labels belongs to --array"]),
        (["tiny", "--features", "pixels", "--classifier", "tiny"], 64, ["--classifier"]),
        (["tiny", "--classifier", "coder"], 69, ["no features"]), (["tiny", "--resamples", "3"], 64, ["--resamples"]),
        (["tiny", "--label", "0", "--features", "pixels"], 64, ["--label"]),
      ] as [([String], Int32, [String])] {
        let result = try program.run(["evaluate"] + arguments)
        #expect(result.status == status, "\(arguments): \(result.status), \(result.errors)")
        for part in parts { #expect(result.errors.contains(part), "\(arguments): \(result.errors)") }
        #expect(result.output.isEmpty)
      }
      #expect(!program.contents.contains { $0.hasSuffix("-evaluate.png") })
      // A classifier for other classes than the data's is used only if it is named.
      try program.run(
        "train", "classifier", "--data", "images", "--run", "classifier", "--steps", "1", "--batch-size", "8", "--set",
        "features=8", "--set", "base-channels=8")
      try program.writeImages("flat", count: 60, side: 8)
      try FileManager.default.moveItem(atPath: program.path("flat/even"), toPath: program.path("flat/else"))
      try program.trainTinyDiffusion(run: "flat", steps: 1, ["--data", "flat"])
      let arguments = ["evaluate", "flat", "--count", "30", "--steps", "1", "--resamples", "10"]
      let refused = try program.run(arguments + ["--features", "classifier"])
      #expect(refused.status == 64 && refused.errors.contains("other classes (even, odd)"), "\(refused.errors)")
      let judged = try program.run(arguments + ["--classifier", "classifier"])
      #expect(judged.status == 0 && judged.output.contains("resize: 8×8 to 12×12"), "\(judged.errors)")
    }
  }
}
