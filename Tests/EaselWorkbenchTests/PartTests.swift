import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// Models that use another checkpoint's model.
@Suite struct PartTests {
  /// A workspace with pictures and the run `codes` of an autoencoder.
  private static func workspace() throws -> ScratchFolder {
    addModelFamily(ToyFamily.self)
    addModelFamily(PartFamily.self)
    let folder = try ToyFamilyTests.workspace()
    let path = folder.path
    try TensorThread.run {
      _ = try Workbench(path).run(
        TrainRequest { ($0.preset, $0.data, $0.run, $0.length.steps) = (ToyFamily.name, "crosses", "codes", 100) })
    }
    return folder
  }

  private static func request(_ run: String, steps: Int, coder: String = "codes") -> TrainRequest {
    TrainRequest {
      ($0.preset, $0.data, $0.run, $0.length.steps) = (PartFamily.name, "crosses", run, steps)
      $0.settings = ["coder=\(coder)", "learning-rate-decay=constant"]
    }
  }

  private static func reconstruction(of checkpoint: String) -> ReconstructRequest {
    ReconstructRequest { ($0.source.checkpoint, $0.count) = (checkpoint, 3) }
  }

  @Test("A run stores its part once, goes on and draws without the part's own run, and exports it")
  func life() throws {
    let folder = try Self.workspace()
    let path = folder.path
    try TensorThread.run {
      let bench = try Workbench(path)
      _ = try bench.run(Self.request("in-two", steps: 3, coder: "\(path)/Checkpoints/codes"))
      _ = try bench.run(Self.request("in-one", steps: 60))
      // The part's own run is gone; the runs need nothing from outside.
      try FileManager.default.removeItem(atPath: "\(path)/Checkpoints/codes")
      _ = try bench.run(ResumeRequest { ($0.run, $0.length.steps) = ("in-two", 60) })

      let run = "\(path)/Checkpoints/in-one"
      let files = try FileManager.default.subpathsOfDirectory(atPath: run).filter { $0.hasSuffix("safetensors") }
      #expect(files.count { $0.hasPrefix("parts/coder/step-00000100/") } == 1, "\(files)")
      let weights = try SafetensorsReader(path: "\(run)/step-00000060/weights.safetensors")
      #expect(weights.names.sorted() == ["matrix.bias", "matrix.weight"])
      // No path of this machine is passed on.
      for name in ["config.yaml", "state.json"] {
        let text = try String(contentsOfFile: "\(path)/Checkpoints/in-two/step-00000060/\(name)", encoding: .utf8)
        #expect(!text.contains(path) && text.contains("codes"), "\(text)")
      }

      let answers = try ["in-one", "in-two"].map { try bench.run(Self.reconstruction(of: $0)) }
      #expect(answers[0].recipe.modelHash == answers[1].recipe.modelHash)
      _ = try bench.run(
        ExportRequest { ($0.checkpoint, $0.output, $0.type) = ("in-one", "\(path)/given away", .float32) })
      try FileManager.default.removeItem(atPath: run)
      let exported = try bench.run(Self.reconstruction(of: "\(path)/given away"))
      #expect(exported.figures == answers[0].figures)
      #expect(exported.pictures == answers[0].pictures)
      #expect(try bench.run(VerifyRequest { $0.checkpoint = "\(path)/given away" }).problems.isEmpty)
    }
    withExtendedLifetime(folder) {}
  }

  @Test("Training does not change a part; its networks count as the model's but are in no checkpoint")
  func frozen() throws {
    let folder = try Self.workspace()
    let path = folder.path
    try TensorThread.run {
      let bench = try Workbench(path)
      _ = try bench.run(Self.request("turned", steps: 40))
      let backend = try Backends.make(.openblas, threads: 1)
      func load(_ run: String) throws -> any Model {
        try LoadedModel(bench.workspace.checkpoints.resolve(run).checkpoint, backend: backend).model
      }
      let (turned, codes) = (try load("turned"), try load("codes"))
      let part = try #require(turned.context.parts["coder"])
      #expect(part.components.map(\.role) == [.frozen] && turned.components.map(\.role) == [.trained])
      #expect(part.components[0].arena.values.values() == codes.components[0].arena.values.values())
      #expect(turned.parameterCount == codes.parameterCount + 4 * 4 + 4)
      turned.prepareForTraining(TrainingSettings { $0.emaDecay = 0.9 })
      part.prepareForTraining(TrainingSettings { $0.emaDecay = 0.9 })
      #expect(part.components[0].optimizer == nil && part.components[0].arena.average == nil)
      #expect(turned.components[0].optimizer != nil && turned.components[0].arena.average != nil)
    }
    withExtendedLifetime(folder) {}
  }

  @Test("A part that is missing, of another kind or different from training is reported, and nothing is written")
  func refused() throws {
    let folder = try Self.workspace()
    let path = folder.path
    try TensorThread.run {
      let bench = try Workbench(path)
      expectUserError(.missingInput, "cods", "Did you mean codes?") {
        try bench.run(Self.request("turned", steps: 1, coder: "cods"))
      }
      expectUserError(.usage, "coder: expected a checkpoint for codes of images, found none") {
        try bench.run(Self.request("turned", steps: 1, coder: ""))
      }
      #expect(!FileManager.default.fileExists(atPath: "\(path)/Checkpoints/turned"))

      _ = try bench.run(Self.request("turned", steps: 1))
      expectUserError(.usage, "coder: turned is in the run turned, which is to be replaced") {
        var again = Self.request("turned", steps: 1, coder: "turned")
        again.overwrite = true
        return try bench.run(again)
      }
      let part = "\(path)/Checkpoints/turned/parts/coder"
      expectUserError(.usage, "which is to be replaced") {
        var again = Self.request("turned", steps: 1, coder: part)
        again.overwrite = true
        return try bench.run(again)
      }
      #expect(FileManager.default.fileExists(atPath: part))
      try FileManager.default.moveItem(atPath: part, toPath: "\(path)/aside")
      expectUserError(.missingInput, part, "expected the coder", "parts folder") {
        try bench.run(Self.reconstruction(of: "turned"))
      }
      _ = try bench.run(
        TrainRequest { ($0.preset, $0.data, $0.run, $0.length.steps) = (ToyFamily.name, "crosses", "other", 2) })
      try FileManager.default.copyItem(atPath: "\(path)/Checkpoints/other", toPath: part)
      expectUserError(.badData, part, "expected the model") { try bench.run(ResumeRequest { $0.run = "turned" }) }
      let problems = try bench.run(VerifyRequest { $0.checkpoint = "turned" }).problems
      #expect(problems.map(\.kind) == [.badData])
    }
    withExtendedLifetime(folder) {}
  }
}
