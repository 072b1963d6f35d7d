import EaselModels
import EaselSupport
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

/// Folders that diffusers and transformers saved (Tests/Fixtures/make_folders.py), as runs and back.
@Suite struct ForeignFolderTests {
  static let pipelines = ["ddim", "ldm", "sd", "sd2"]
  private static let prompt = "a small red circle above a large blue square"
  private static let negative = "a green triangle"

  /// The run that is made of a folder.
  private func importRun(_ folder: String, into scratch: ScratchFolder, as name: String = "run") throws
    -> CheckpointFolder
  {
    let run = try RunFolder(workspace: scratch.path, name: name)
    return try ForeignFolder.model(in: folder).write(to: run, on: Backends.make(.openblas))
  }

  private func folder(_ name: String) -> String { fixture("folders/\(name)") }

  private func values(_ name: String) throws -> (values: [Float], shape: Shape) {
    let file = try SafetensorsReader(path: fixture("folders.safetensors"))
    let shape = file.entries[name]?.shape ?? []
    let (count, channels, area) = (shape[0], shape[1], shape[2] * shape[3])
    let stored = try file.floats(name)
    let values = (0..<stored.count).map { place -> Float in
      let (image, pixel, channel) = (place / (channels * area), place / channels % area, place % channels)
      return stored[(image * channels + channel) * area + pixel]
    }
    return (values, [count, shape[2], shape[3], channels])
  }

  /// The picture that a model draws from a fixture's noise.
  private func picture(_ checkpoint: CheckpointFolder, _ name: String, _ kind: BackendKind) throws -> [Float] {
    let noise = try values("\(name).noise")
    let readsTexts = name.hasPrefix("sd")
    let options = SamplingOptions(
      steps: 5, conditions: readsTexts ? [.text(Self.prompt)] : nil, negative: readsTexts ? .text(Self.negative) : nil,
      guidance: readsTexts ? 3 : nil)
    return try onTensors(kind) { backend in
      let model = try LoadedModel(checkpoint, backend: backend).model
      guard let decoder = model as? any CodeDecoding else { return [] }
      return try decoder.decode(Tensor(noise.values, shape: noise.shape, on: backend), options) { _ in }.values()
        .map { max(0, min(1, $0)) }
    }
  }

  private func meanDifference(_ a: [Float], _ b: [Float]) -> Float {
    a.count == b.count ? zip(a, b).reduce(0) { $0 + abs($1.0 - $1.1) } / Float(a.count) : .infinity
  }

  @Test("A pipeline's run draws diffusers' picture from the same noise", arguments: pipelines, Backends.available)
  func drawsTheSamePictures(_ name: String, _ kind: BackendKind) throws {
    let scratch = try ScratchFolder()
    let checkpoint = try importRun(folder(name), into: scratch)
    let expected = try values("\(name).picture").values
    let found = try picture(checkpoint, name, kind)
    let difference = meanDifference(found, expected)
    #expect(difference < 0.01 / 255, "\(difference * 255) levels")
    // Black or grey pictures would be the same whatever the model does.
    #expect(meanDifference(expected, [Float](repeating: 0.5, count: expected.count)) > 0.05)
    #expect(checkpoint.verify(full: true).isEmpty && checkpoint.verifyParts().isEmpty)
  }

  @Test("CLIP's vectors of pictures and texts are transformers'", arguments: Backends.available)
  func embedsTheSame(_ kind: BackendKind) throws {
    let scratch = try ScratchFolder()
    let checkpoint = try importRun(folder("clip"), into: scratch)
    let images = try values("clip.images")
    let (pictures, texts) = try onTensors(kind) { backend -> ([Float], [Float]) in
      let model = try LoadedModel(checkpoint, backend: backend).model
      guard let clip = model as? any ImageTextEmbedding else { return ([], []) }
      return (
        clip.embed(images: Tensor(images.values, shape: images.shape, on: backend)).values(),
        clip.embed(texts: [Self.prompt, Self.negative]).values()
      )
    }
    let file = try SafetensorsReader(path: fixture("folders.safetensors"))
    for (found, name) in [(pictures, "clip.image-embeds"), (texts, "clip.text-embeds")] {
      let expected = try file.floats(name)
      #expect(found.count == expected.count)
      #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-5 }, "\(name)")
    }
  }

  // MARK: The way back

  private func export(
    _ checkpoint: CheckpointFolder, to path: String, as type: ElementType = .float32
  ) throws -> String {
    try onTensors { try LoadedModel(checkpoint, backend: $0).exportForeign(to: path, as: type).kind }
  }

  /// A document's fields without those that say who wrote it.
  private func document(_ path: String) throws -> [String: JSONValue] {
    guard case .object(var fields) = try JSONDecoder().decode(JSONValue.self, from: contents(path)) else { return [:] }
    for key in ["_diffusers_version", "transformers_version", "text_config", "vision_config"] { fields[key] = nil }
    return fields
  }

  @Test("What was read is written with the same weights and fields, and read again", arguments: pipelines + ["clip"])
  func writesWhatItRead(_ name: String) throws {
    let scratch = try ScratchFolder()
    let checkpoint = try importRun(folder(name), into: scratch)
    let target = scratch.file("given")
    _ = try export(checkpoint, to: target)
    var files = 0
    for path in try FileManager.default.subpathsOfDirectory(atPath: folder(name)) {
      let (source, copy) = ("\(folder(name))/\(path)", "\(target)/\(path)")
      if path.hasSuffix(".safetensors") {
        let (a, b) = (try SafetensorsReader(path: source), try SafetensorsReader(path: copy))
        #expect(b.metadata == ["format": "pt"])
        // Older versions of transformers know a text network's tensors only by this name.
        let isBare = path.hasPrefix("text_encoder")
        #expect(b.names == a.names.map { isBare ? "text_model.\($0)" : $0 })
        for tensor in a.names {
          #expect(try a.floats(tensor) == b.floats(isBare ? "text_model.\(tensor)" : tensor), "\(tensor)")
        }
        files += 1
      } else if path.hasSuffix(".json"), !path.hasSuffix("tokenizer.json"), !path.hasSuffix("tokenizer_config.json") {
        #expect(try document(copy) == document(source), "\(path)")
        files += 1
      }
    }
    #expect(files >= 2)
    let again = try importRun(target, into: scratch, as: "again")
    #expect(try again.modelHash == checkpoint.modelHash)
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted() == ["Checkpoints", "given"])
  }

  @Test(
    "An exported folder draws the same picture in diffusers", .enabled(if: Python.has("diffusers, transformers")),
    arguments: pipelines)
  func diffusersDrawsTheSame(_ name: String) throws {
    let scratch = try ScratchFolder()
    _ = try export(importRun(folder(name), into: scratch), to: scratch.file("given"))
    let output = try Python.output(
      """
      import sys, torch
      from diffusers import DiffusionPipeline
      from safetensors.torch import load_file
      folder, name, fixture, prompt, negative = sys.argv[1:]
      tensors = load_file(fixture)
      pipeline = DiffusionPipeline.from_pretrained(folder)
      pipeline.set_progress_bar_config(disable=True)
      x = tensors[name + ".noise"]
      with torch.no_grad():
          if name.startswith("sd"):
              found = pipeline([prompt] * 2, negative_prompt=[negative] * 2, latents=x, guidance_scale=3.0,
                  num_inference_steps=5, output_type="pt").images
          else:
              pipeline.scheduler.set_timesteps(5)
              for t in pipeline.scheduler.timesteps:
                  x = pipeline.scheduler.step(pipeline.unet(x, t).sample, t, x, eta=0.0).prev_sample
              if name == "ldm":
                  x = pipeline.vqvae.decode(x / pipeline.vqvae.config.scaling_factor).sample
              found = (x / 2 + 0.5).clamp(0, 1)
              pipeline(num_inference_steps=2)
      print("difference", (found - tensors[name + ".picture"]).abs().max().item())
      """, scratch.file("given"), name, fixture("folders.safetensors"), Self.prompt, Self.negative)
    let difference = output.split(separator: "difference ").last.flatMap {
      Float($0.trimmingCharacters(in: .whitespacesAndNewlines))
    }
    #expect((difference ?? .infinity) < 1e-5, "\(output)")
  }

  // MARK: Layouts

  /// A copy of a fixture's folder that can be changed.
  private func copy(_ name: String, in scratch: ScratchFolder, to target: String = "copy") throws -> String {
    let path = scratch.file(target)
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.copyItem(atPath: folder(name), toPath: path)
    return path
  }

  private func change(_ path: String, _ change: (inout [String: JSONValue]) -> Void) throws {
    guard case .object(var fields) = try JSONDecoder().decode(JSONValue.self, from: contents(path)) else { return }
    change(&fields)
    try JSONValue.object(fields).document().write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func changeWeights(_ path: String, _ change: (inout [SafetensorsWriter.Tensor]) -> Void) throws {
    let file = try SafetensorsReader(path: path)
    // The file is overwritten, so everything is read first.
    var tensors = try file.names.map { name in
      SafetensorsWriter.Tensor(name: name, shape: file.entries[name]?.shape ?? [], floats: try file.floats(name))
    }
    change(&tensors)
    try SafetensorsWriter.write(tensors, to: path)
  }

  @Test("Components in the pipeline's own folder, a network alone, and older names are the same model")
  func layouts() throws {
    let scratch = try ScratchFolder()
    let nested = try importRun(folder("ddim"), into: scratch).modelHash
    let flat = try copy("ddim", in: scratch)
    for name in ["unet", "scheduler"] {
      for file in try FileManager.default.contentsOfDirectory(atPath: "\(flat)/\(name)") {
        try FileManager.default.moveItem(atPath: "\(flat)/\(name)/\(file)", toPath: "\(flat)/\(file)")
      }
      try FileManager.default.removeItem(atPath: "\(flat)/\(name)")
    }
    #expect(try importRun(flat, into: scratch, as: "flat").modelHash == nested)
    try FileManager.default.removeItem(atPath: "\(flat)/model_index.json")
    #expect(try importRun(flat, into: scratch, as: "network").modelHash == nested)
    try changeWeights("\(flat)/diffusion_pytorch_model.safetensors") { tensors in
      let names = ["to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"]
      tensors = tensors.map { tensor in
        names.first { tensor.name.contains(".\($0.key).") }.map { new, old in
          tensor.named(tensor.name.replacing(".\(new).", with: ".\(old)."))
        } ?? tensor
      }
    }
    #expect(try importRun(flat, into: scratch, as: "older").modelHash == nested)
    try FileManager.default.removeItem(atPath: "\(flat)/scheduler_config.json")
    let model = try ForeignFolder.model(in: flat)
    #expect(model.kind == "UNet2DModel" && model.remarks.contains { $0.contains("There is no scheduler_config.json") })
    #expect(model.data == DataDescription(width: 16, height: 16, channels: 3))
  }

  @Test("A VQModel that is older than scaling factors has none; other components are left out, and said")
  func defaults() throws {
    let scratch = try ScratchFolder()
    let ldm = try copy("ldm", in: scratch)
    try change("\(ldm)/vqvae/config.json") { $0["scaling_factor"] = nil }
    let checkpoint = try importRun(ldm, into: scratch)
    let part = "\(URL(fileURLWithPath: checkpoint.path).deletingLastPathComponent().path)/parts/space/step-00000000"
    let weights = try SafetensorsReader(path: "\(part)/weights.safetensors")
    #expect(try weights.floats("autoencoder.scaling_factor") == [1])

    let sd = try copy("sd", in: scratch)
    try change("\(sd)/model_index.json") {
      $0["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    }
    #expect(
      try ForeignFolder.model(in: sd).remarks == ["safety_checker is left out: pictures are not examined."])
    #expect(try ForeignFolder.model(in: folder("sd2")).remarks.isEmpty)
  }

  @Test("Classes get a row of zeros that stands for none, and lose it on the way back")
  func classes() throws {
    let scratch = try ScratchFolder()
    let labelled = try copy("ddim", in: scratch)
    try change("\(labelled)/unet/config.json") { $0["num_class_embeds"] = 3 }
    try changeWeights("\(labelled)/unet/diffusion_pytorch_model.safetensors") {
      $0.append(.init(name: "class_embedding.weight", shape: [3, 32], floats: randomValues(96)))
    }
    let model = try ForeignFolder.model(in: labelled)
    #expect(model.data.classNames == ["0", "1", "2"])
    #expect(model.remarks.contains { $0.contains("guidance has nothing") })
    let checkpoint = try importRun(labelled, into: scratch)
    let given = scratch.file("given")
    #expect(try export(checkpoint, to: given) == "DDIMPipeline")
    let table = try SafetensorsReader(path: "\(given)/unet/diffusion_pytorch_model.safetensors")
      .floats("class_embedding.weight")
    #expect(table == randomValues(96) + [Float](repeating: 0, count: 32))
    #expect(try document("\(given)/unet/config.json")["num_class_embeds"] == 4)
    #expect(try String(contentsOfFile: "\(given)/README.md", encoding: .utf8).contains("Class 3 stands for none"))
    let again = try ForeignFolder.model(in: given)
    #expect(again.data.classNames == ["0", "1", "2"] && again.remarks.isEmpty)
  }

  // MARK: Refusals

  @Test("What no model of Easel does is refused by file and field, and nothing is written")
  func refusals() throws {
    let scratch = try ScratchFolder()
    func refuse(
      _ name: String, _ file: String, _ changes: [String: JSONValue], _ parts: String...,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let path = try copy(name, in: scratch)
      try change("\(path)/\(file)") { $0.merge(changes) { $1 } }
      expectUserError(.badData, ["\(path)/\(file)"] + parts, sourceLocation: sourceLocation) {
        try importRun(path, into: scratch)
      }
    }
    try refuse("ddim", "model_index.json", ["_class_name": "KandinskyPipeline"], "_class_name", "found Kandinsky")
    try refuse("ddim", "model_index.json", ["unet": ["diffusers", "UNet1DModel"]], "unet", "found UNet1DModel")
    try refuse("ddim", "model_index.json", ["unet": [nil, nil]], "unet: expected a component")
    try refuse("ddim", "unet/config.json", ["sample_size": nil], "sample_size")
    try refuse("ddim", "unet/config.json", ["sample_size": 1_000_000], "sample_size", "found [1000000")
    try refuse("ddim", "unet/config.json", ["block_out_channels": [8_000_000, 16]], "channels")
    try refuse("ddim", "unet/config.json", ["act_fn": "mish"], "act_fn", "found mish")
    try refuse("ddim", "unet/config.json", ["a_new_switch": 2], "a_new_switch", "not known")
    try refuse("ddim", "unet/config.json", ["in_channels": 4, "out_channels": 4], "in_channels", "whole pipeline")
    try refuse("ddim", "scheduler/scheduler_config.json", ["beta_schedule": "sigmoid"], "beta_schedule", "sigmoid")
    try refuse("ldm", "unet/config.json", ["in_channels": 5, "out_channels": 5], "in_channels: expected 3, found 5")
    try refuse("ldm", "vqvae/config.json", ["vq_embed_dim": 8], "vq_embed_dim", "found 8")
    try refuse("sd", "vae/config.json", ["shift_factor": 0.5], "shift_factor", "found 0.5")
    try refuse("sd", "vae/config.json", ["use_quant_conv": false], "use_quant_conv")
    try refuse("sd", "unet/config.json", ["cross_attention_dim": 24], "cross_attention_dim: expected 16, found 24")
    try refuse("sd", "unet/config.json", ["addition_embed_type": "text_time"], "addition_embed_type")
    try refuse("sd", "unet/config.json", ["transformer_layers_per_block": 2], "transformer_layers_per_block")
    try refuse("sd", "text_encoder/config.json", ["hidden_act": "relu"], "hidden_act", "relu")
    try refuse("sd", "text_encoder/config.json", ["layer_norm_eps": 1e-3], "layer_norm_eps")
    try refuse("sd", "tokenizer/tokenizer_config.json", ["model_max_length": 12], "model_max_length", "found 12")
    #expect(!FileManager.default.fileExists(atPath: scratch.file("Checkpoints")))

    let path = try copy("sd", in: scratch)
    try change("\(path)/tokenizer/tokenizer_config.json") { $0["pad_token"] = "<pad>" }
    expectUserError(.badData, "\(path)/tokenizer: pad_token", "\"<pad>\"") { try importRun(path, into: scratch) }
    let bare = try copy("sd", in: scratch)
    try FileManager.default.removeItem(atPath: "\(bare)/tokenizer/tokenizer.json")
    expectUserError(.missingInput, "tokenizer/vocab.json") { try importRun(bare, into: scratch) }
    expectUserError(.missingInput, "no such folder") { try importRun(scratch.file("none"), into: scratch) }
    expectUserError(.usage, "found a file") { try importRun("\(bare)/model_index.json", into: scratch) }
    expectUserError(.missingInput, "found neither") { try importRun("\(bare)/scheduler", into: scratch) }
    #expect(!FileManager.default.fileExists(atPath: scratch.file("Checkpoints")))
  }

  @Test("Missing, surplus, misshapen and infinite tensors are refused by name, and nothing is left behind")
  func damagedWeights() throws {
    let scratch = try ScratchFolder()
    func refuse(
      _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
      _ change: (inout [SafetensorsWriter.Tensor]) -> Void
    ) throws {
      let path = try copy("ldm", in: scratch)
      try changeWeights("\(path)/vqvae/diffusion_pytorch_model.safetensors", change)
      expectUserError(.badData, parts, sourceLocation: sourceLocation) { try importRun(path, into: scratch) }
      #expect(!FileManager.default.fileExists(atPath: scratch.file("Checkpoints/run")), sourceLocation: sourceLocation)
    }
    try refuse("there is no tensor decoder.conv_in.bias, and 1 more") {
      $0.removeAll { $0.name.hasPrefix("decoder.conv_in") }
    }
    try refuse("no layer has the tensor extra") { $0.append(.init(name: "extra", shape: [1], floats: [0])) }
    try refuse("quant_conv.bias has shape [2], expected [3]") { tensors in
      tensors.removeAll { $0.name == "quant_conv.bias" }
      tensors.append(.init(name: "quant_conv.bias", shape: [2], floats: [0, 0]))
    }
    try refuse("quant_conv.bias: expected finite numbers, found inf") { tensors in
      tensors.removeAll { $0.name == "quant_conv.bias" }
      tensors.append(.init(name: "quant_conv.bias", shape: [3], floats: [0, .infinity, 0]))
    }
  }

  @Test("What diffusers cannot do is refused with the reason, and nothing is written")
  func exportRefusals() throws {
    let scratch = try ScratchFolder()
    let (workspace, pictures) = (scratch.path, scratch.file("pictures"))
    func refuse(
      _ parts: String..., data: DataDescription = DataDescription(width: 16, height: 16, channels: 3),
      sourceLocation: SourceLocation = #_sourceLocation, _ change: @escaping @Sendable (inout DiffusionSettings) -> Void
    ) throws {
      let target = scratch.file("given")
      let checkpoint = try onTensors { backend in
        let settings = DiffusionSettings {
          ($0.channels, $0.layersPerBlock, $0.attentionLevels, $0.groups) = ([8, 16], 1, [1], 4)
          change(&$0)
        }
        return try Self.write(DiffusionFamily.self, settings, data, in: workspace, on: backend)
      }
      expectUserError(.unavailable, parts, sourceLocation: sourceLocation) { try export(checkpoint, to: target) }
      #expect(!FileManager.default.fileExists(atPath: target), sourceLocation: sourceLocation)
    }
    try refuse("noise-schedule: diffusers has no scheduler for edm") {
      ($0.noiseSchedule, $0.prediction) = (.edm, .velocity)
    }
    try refuse("cannot halve 15×16", data: DataDescription(width: 15, height: 16, channels: 3)) { _ in }
    let checkpoint = try onTensors { backend in
      try Self.write(
        AutoencoderFamily.self, AutoencoderSettings(), DataDescription(width: 16, height: 16, channels: 1),
        in: workspace, on: backend)
    }
    expectUserError(.unavailable, "autoencoder: diffusers and transformers have no such model", "diffusion") {
      try export(checkpoint, to: scratch.file("given"))
    }
    // Only folders of its own kind are replaced.
    try FileManager.default.createDirectory(atPath: pictures, withIntermediateDirectories: true)
    let ddim = try importRun(folder("ddim"), into: scratch, as: "ddim")
    for replacing in [false, true] {
      expectUserError(.cannotCreate, pictures) {
        try onTensors {
          try LoadedModel(ddim, backend: $0).exportForeign(to: pictures, as: .float32, replacing: replacing).kind
        }
      }
    }
  }

  @Test("An input of changes to training images is left out; bfloat16 is a choice")
  func augmented() throws {
    let scratch = try ScratchFolder()
    let workspace = scratch.path
    let checkpoint = try onTensors { backend in
      try Self.write(
        DiffusionFamily.self,
        DiffusionSettings {
          ($0.channels, $0.layersPerBlock, $0.attentionLevels, $0.groups) = ([8, 16], 1, [1], 4)
          ($0.augment, $0.sampler, $0.variance) = (0.1, .ddpm, .fixedLarge)
        }, DataDescription(width: 8, height: 16, channels: 1), in: workspace, on: backend)
    }
    #expect(try export(checkpoint, to: scratch.file("given"), as: .bfloat16) == "DDPMPipeline")
    let weights = try SafetensorsReader(path: scratch.file("given/unet/diffusion_pytorch_model.safetensors"))
    #expect(!weights.names.isEmpty && weights.names.allSatisfy { !$0.hasPrefix("augmentation") })
    #expect(weights.entries.values.allSatisfy { $0.type == .bfloat16 })
    #expect(try document(scratch.file("given/unet/config.json"))["sample_size"] == [16, 8])
    #expect(try document(scratch.file("given/scheduler/scheduler_config.json"))["variance_type"] == "fixed_large")
  }

  @Test("What a pipeline of diffusers draws otherwise is said, in its guide too")
  func exportRemarks() throws {
    let scratch = try ScratchFolder()
    let sd = try copy("sd", in: scratch)
    try change("\(sd)/scheduler/scheduler_config.json") { $0["steps_offset"] = 0 }
    let ddim = try copy("ddim", in: scratch, to: "learned")
    try change("\(ddim)/unet/config.json") { $0["out_channels"] = 6 }
    try changeWeights("\(ddim)/unet/diffusion_pytorch_model.safetensors") { tensors in
      tensors.removeAll { $0.name.hasPrefix("conv_out.") }
      tensors.append(.init(name: "conv_out.weight", shape: [6, 8, 3, 3], floats: randomValues(432)))
      tensors.append(.init(name: "conv_out.bias", shape: [6], floats: randomValues(6)))
    }
    let dpm = try copy("ddim", in: scratch, to: "dpm")
    try change("\(dpm)/scheduler/scheduler_config.json") {
      $0["_class_name"] = "DPMSolverMultistepScheduler"
      $0["use_karras_sigmas"] = true
      $0["thresholding"] = true
    }
    let exact = try importRun(dpm, into: scratch, as: "exact")
    let given = scratch.file("exact")
    let none = try onTensors {
      try LoadedModel(exact, backend: $0).exportForeign(to: given, as: .float32).remarks
    }
    #expect(none.isEmpty, "\(none)")
    #expect(try document("\(given)/scheduler/scheduler_config.json")["thresholding"] == true)
    for (folder, remark, key, value) in [
      (sd, "The timesteps begin at 1 instead of 0", "steps_offset", JSONValue(1)),
      (ddim, "The sampler is ddpm instead of ddim", "variance_type", "learned_range"),
    ] {
      let name = URL(fileURLWithPath: folder).lastPathComponent
      let checkpoint = try importRun(folder, into: scratch, as: name)
      let target = scratch.file("given \(name)")
      let remarks = try onTensors {
        try LoadedModel(checkpoint, backend: $0).exportForeign(to: target, as: .float32).remarks
      }
      #expect(remarks.count == 1 && remarks[0].hasPrefix(remark), "\(remarks)")
      #expect(try String(contentsOfFile: "\(target)/README.md", encoding: .utf8).contains(remark))
      #expect(try document("\(target)/scheduler/scheduler_config.json")[key] == value)
    }
  }

  /// A checkpoint of an untrained model.
  private static func write<Family: ModelFamily>(
    _ family: Family.Type, _ settings: Family.Settings, _ data: DataDescription, in workspace: String,
    on backend: any Backend
  ) throws -> CheckpointFolder {
    let model = try Family.make(settings, ModelContext(backend: backend, type: .float32, seed: 1, data: data))
    let tensors = model.components.flatMap { $0.arena.weightEntries(average: false, prefix: $0.prefix) }
    let run = try RunFolder(workspace: workspace, name: "untrained")
    return try ForeignModel("test", in: "test", Family.self, settings, data: data, tensors: tensors)
      .write(to: run, replacing: true, on: backend)
  }
}
