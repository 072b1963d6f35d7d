import EaselModels
import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// The U-Net against diffusers' `UNet2DModel` and `UNet2DConditionModel` (Tests/Fixtures/make_fixtures.py).
@Suite struct UNetFixtureTests {
  @Test("The output is diffusers'", arguments: UNetFixture.all, Backends.available)
  func output(_ fixture: UNetFixture, _ kind: BackendKind) throws {
    let (found, expected) = try onTensors(kind) { backend in
      let loaded = try LoadedUNet(fixture, on: backend)
      return (loaded.output().value.values(), try loaded.cases.images("output").values)
    }
    #expect(relativeError(found, expected) < 1e-4)
  }

  @Test("Gradients of every parameter and of the input are diffusers'", arguments: UNetFixture.all, Backends.available)
  func gradients(_ fixture: UNetFixture, _ kind: BackendKind) throws {
    let found = try onTensors(kind) { backend -> (loss: Float, gradients: [Gradient]) in
      let loaded = try LoadedUNet(fixture, on: backend)
      let tape = Tape()
      let x = tape.variable(loaded.x)
      let tokens = loaded.tokens.map(tape.variable)
      let loss = loaded.loss(x, tokens: tokens)
      tape.backward(from: loss)
      var gradients = [
        Gradient(
          "x", tape.gradient(of: x)?.values() ?? [], expected: try loaded.cases.images("gradient.x").values)
      ]
      if let tokens {
        gradients.append(
          Gradient(
            "tokens", tape.gradient(of: tokens)?.values() ?? [],
            expected: try loaded.cases.floats("gradient.encoder_hidden_states")))
      }
      for parameter in loaded.arena.parameters {
        let expected = try loaded.cases.floats("gradient." + parameter.name)
        gradients.append(Gradient(parameter.name, parameter.gradient.values(), expected: expected))
      }
      return (loss.value.item(), gradients)
    }
    let expectedLoss = try fixture.cases().floats("loss")
    #expect(relativeError([found.loss], expectedLoss) < 1e-4)
    let whole = norm(found.gradients.flatMap(\.expected))
    for gradient in found.gradients {
      #expect(isSameGradient(gradient.found, gradient.expected, whole: whole), "\(gradient.name)")
    }
  }

  @Test(
    "Ten AdamW steps have diffusers' losses",
    arguments: UNetFixture.all.flatMap { fixture in
      Backends.available.map { (fixture, $0) }
    }, [false, true])
  func trainingCurve(_ place: (fixture: UNetFixture, kind: BackendKind), clipped: Bool) throws {
    let (fixture, kind) = place
    let expected = try fixture.cases().floats(clipped ? "losses.adamw-clipped" : "losses.adamw")
    try expectCurve(expected, on: kind) { backend, prepare in
      let loaded = try LoadedUNet(fixture, on: backend)
      prepare([loaded.arena])
      let optimizer = Optimizer(
        loaded.arena, method: .adamW(), weightDecay: 1e-2, maximumGradientNorm: clipped ? 1 : nil)
      var losses: [Float] = []
      for _ in 0..<10 {
        let tape = Tape()
        let loss = loaded.loss(Variable(loaded.x, on: tape))
        losses.append(loss.value.item())
        tape.backward(from: loss)
        optimizer.step(learningRate: 1e-3)
      }
      return losses + [loaded.loss(Variable(loaded.x)).value.item()]
    }
  }

  @Test(
    "In bfloat16 the output is diffusers' to 3 %", .enabled(if: Backends.hasOneDNN && Backends.bfloat16 != .none),
    arguments: UNetFixture.all)
  func bfloat16(_ fixture: UNetFixture) throws {
    let (type, found, expected) = try onTensors(.onednn) { backend in
      let loaded = try LoadedUNet(fixture, type: .bfloat16, on: backend)
      let output = loaded.output().value
      return (output.type, output.values(), try loaded.cases.images("output").values)
    }
    #expect(type == .bfloat16)
    let error = relativeError(found, expected)
    #expect(error < 3e-2)
    #expect(error > 1e-4, "that was float32")
  }

  // MARK: Names and files

  @Test("Parameters have the names and shapes of diffusers' files", arguments: UNetFixture.all)
  func names(_ fixture: UNetFixture) throws {
    let found = try onTensors { backend in
      try LoadedUNet(fixture, on: backend).arena.parameters.map { ($0.name, $0.shape.sizes) }
    }
    let expected = try fixture.weights().entries.mapValues(\.shape)
    #expect(Dictionary(uniqueKeysWithValues: found) == expected)
  }

  @Test("Loading gives back the saved weights")
  func savesWhatItLoads() throws {
    let fixture = UNetFixture.all[0]
    let folder = try ScratchFolder()
    let path = folder.file("saved.safetensors")
    try onTensors { backend in
      let arena = try LoadedUNet(fixture, on: backend).arena
      try SafetensorsWriter.write(arena.entries(of: arena.values, prefix: "unet."), to: path)
    }
    let (saved, original) = (try SafetensorsReader(path: path), try fixture.weights())
    #expect(saved.names == original.names.map { "unet." + $0 })
    for name in original.names { #expect(try saved.floats("unet." + name) == original.floats(name), "\(name)") }
  }

  /// Errors in a file of weights.
  enum Damage: CaseIterable { case missing, shape, type }

  @Test("A file that does not fit is refused by name and changes nothing", arguments: Damage.allCases)
  func damagedFile(_ damage: Damage) throws {
    let fixture = UNetFixture.all[0]
    let folder = try ScratchFolder()
    let path = folder.file("damaged.safetensors")
    // Not the first parameter, since those before it must not be changed either.
    let victim = "mid_block.resnets.1.conv2.bias"
    let original = try fixture.weights()
    let tensors = try original.names.compactMap { name -> SafetensorsWriter.Tensor? in
      let (shape, values) = (original.entries[name]?.shape ?? [], try original.floats(name))
      guard name == victim else { return SafetensorsWriter.Tensor(name: name, shape: shape, floats: values) }
      switch damage {
      case .missing: return nil
      case .shape: return SafetensorsWriter.Tensor(name: name, shape: [1] + shape, floats: values)
      case .type: return SafetensorsWriter.Tensor(name: name, shape: shape, integers: values.map { Int($0) })
      }
    }
    try SafetensorsWriter.write(tensors, to: path)

    let (refusal, before, after) = try onTensors { backend -> (UserError?, [Float], [Float]) in
      let scope = Scope()
      _ = UNet(try fixture.configuration(), scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      let before = arena.values.values()
      var refusal: UserError?
      do {
        try arena.load(arena.values, from: SafetensorsReader(path: path))
      } catch let error as UserError {
        refusal = error
      }
      return (refusal, before, arena.values.values())
    }
    expectUserError(.badData, path, victim) { if let refusal { throw refusal } }
    #expect(before == after)
  }
}

/// diffusers' `config.json`.
@Suite struct DiffusersConfigurationTests {
  @Test func readsEveryField() throws {
    #expect(
      try UNetFixture(name: "unet-null-head").configuration()
        == UNetConfiguration(
          inputChannels: 3, outputChannels: 3, channels: [8, 24], layersPerBlock: 1, attentionLevels: [1],
          attentionHeadWidth: nil, groups: 8, epsilon: 1e-6, flipSinToCos: false, frequencyShift: 1,
          downsamplePadding: 0))
    #expect(
      try UNetFixture(name: "unet-default").configuration()
        == UNetConfiguration(
          inputChannels: 1, outputChannels: 1, channels: [8, 16, 16], attentionLevels: [1], attentionHeadWidth: 8,
          groups: 4))
  }

  @Test("The fields of a network that reads texts")
  func readsTextFields() throws {
    #expect(
      try UNetFixture(name: "unet-text").configuration()
        == UNetConfiguration(
          inputChannels: 4, outputChannels: 4, channels: [8, 16], layersPerBlock: 1, attentionLevels: [0],
          attentionHeads: 2, crossAttention: .init(tokenWidth: 12), groups: 4))
    #expect(
      try UNetFixture(name: "unet-embedding").configuration()
        == UNetConfiguration(
          inputChannels: 3, outputChannels: 3, channels: [8, 16], layersPerBlock: 1, attentionLevels: [1],
          attentionHeadWidth: 4, crossAttention: .init(tokenWidth: 6, linearProjection: true), groups: 4,
          embeddingWidth: 5))
    #expect(
      try UNetConfiguration(diffusers: Data(#"{"_class_name": "UNet2DConditionModel"}"#.utf8))
        == UNetConfiguration(
          inputChannels: 4, outputChannels: 4, channels: [320, 640, 1280, 1280], attentionLevels: [0, 1, 2],
          attentionHeads: 8, crossAttention: .init(tokenWidth: 1280)))
  }

  @Test(
    "A switch of a text's network that Easel's does not have is refused by name",
    arguments: [
      ("only_cross_attention", "true"), ("class_embed_type", #""timestep""#), ("addition_embed_type", #""text""#),
      ("encoder_hid_dim", "768"), ("time_cond_proj_dim", "256"), ("conv_in_kernel", "1"), ("attention_head_dim", "3"),
      ("attention_head_dim", "[1, 4]"), ("attention_head_dim", "[1]"), ("transformer_layers_per_block", "[1, 2]"),
      ("cross_attention_dim", "0"), ("mid_block_type", #""UNetMidBlock2D""#), ("dual_cross_attention", "true"),
    ])
  func refusesTextFields(_ key: String, _ value: String) throws {
    let text = try contents(fixture("unet-text/config.json"))
    var fields = try #require(JSONSerialization.jsonObject(with: text) as? [String: Any])
    fields[key] = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)
    let changed = try JSONSerialization.data(withJSONObject: fields)
    expectUserError(.badData, "config.json: \(key): ") { try UNetConfiguration(diffusers: changed) }
  }

  @Test("A field that is not known is no obstacle if it is not used", arguments: ["null", "false"])
  func unused(_ value: String) throws {
    let json = Data(#"{"_class_name": "UNet2DModel", "a_new_switch": \#(value)}"#.utf8)
    #expect(try UNetConfiguration(diffusers: json).channels == [224, 448, 672, 896])
  }

  @Test("Missing values in a file have diffusers' defaults")
  func defaults() throws {
    #expect(
      try UNetConfiguration(diffusers: Data(#"{"_class_name": "UNet2DModel"}"#.utf8))
        == UNetConfiguration(
          inputChannels: 3, outputChannels: 3, channels: [224, 448, 672, 896], attentionLevels: [1, 2, 3],
          attentionHeadWidth: 8))
    #expect(try UNetConfiguration(diffusers: Data(#"{"num_class_embeds": 10}"#.utf8)).classCount == 10)
  }

  @Test(
    "A switch that Easel's U-Net does not have is refused by name",
    arguments: [
      ("_class_name", #""UNet3DConditionModel""#), ("act_fn", #""gelu""#), ("add_attention", "false"),
      ("attn_norm_num_groups", "4"), ("center_input_sample", "true"), ("class_embed_type", #""timestep""#),
      ("downsample_type", #""resnet""#), ("upsample_type", #""resnet""#), ("mid_block_scale_factor", "2"),
      ("mid_block_type", #""UNetMidBlock2DCrossAttn""#), ("resnet_time_scale_shift", #""scale_shift""#),
      ("time_embedding_type", #""fourier""#), ("time_embedding_dim", "7"), ("down_block_types", #"["DownBlock2D"]"#),
      ("down_block_types", #"["DownBlock2D", "SkipDownBlock2D"]"#), ("up_block_types", #"["UpBlock2D", "UpBlock2D"]"#),
      ("block_out_channels", "[]"), ("block_out_channels", "[8, 23]"),
      ("block_out_channels", "[4611686018427387904]"), ("in_channels", "9223372036854775807"), ("norm_num_groups", "0"),
      ("in_channels", #""three""#), ("layers_per_block", "0"), ("attention_head_dim", "5"), ("freq_shift", "4"),
      ("downsample_padding", "2"), ("dropout", "1"), ("norm_eps", "0"), ("a_new_switch", "true"),
    ])
  func refuses(_ key: String, _ value: String) throws {
    let text = try contents(fixture("unet-null-head/config.json"))
    var fields = try #require(JSONSerialization.jsonObject(with: text) as? [String: Any])
    fields[key] = try JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed)
    let changed = try JSONSerialization.data(withJSONObject: fields)
    expectUserError(.badData, "config.json: \(key): ") { try UNetConfiguration(diffusers: changed) }
  }

  @Test("Heads are written as their width, which has to be the same everywhere")
  func writesHeads() throws {
    func written(_ levels: Set<Int>, heads: Int?, width: Int? = nil) throws -> UNetConfiguration {
      let configuration = UNetConfiguration(
        inputChannels: 3, outputChannels: 3, channels: [8, 16], attentionLevels: levels, attentionHeadWidth: width,
        attentionHeads: heads, groups: 4)
      let json = try configuration.diffusersDocument(size: (8, 8)).document()
      return try UNetConfiguration(diffusers: Data(json.utf8))
    }
    #expect(try written([1], heads: 2).attentionHeadWidth == 8)
    #expect(try written([0, 1], heads: 1).attentionHeadWidth == nil)
    #expect(try written([0, 1], heads: nil, width: 4).attentionHeadWidth == 4)
    expectUserError(.unavailable, "heads of one width, found [4, 8]", "attention-head-width") {
      try written([0, 1], heads: 2)
    }
  }

  @Test func refusesWhatIsNotAnObject() {
    expectUserError(.badData, "config.json") { try UNetConfiguration(diffusers: Data("[1]".utf8)) }
  }
}

// MARK: - Helpers

/// One of the folders that make_fixtures.py writes.
struct UNetFixture: Sendable, CustomTestStringConvertible {
  static let all = ["unet-null-head", "unet-default", "unet-text", "unet-embedding"].map {
    UNetFixture(name: $0)
  }

  let name: String
  var testDescription: String { name }

  func configuration() throws -> UNetConfiguration {
    try UNetConfiguration(diffusers: contents(fixture("\(name)/config.json")))
  }

  func weights() throws -> SafetensorsReader {
    try SafetensorsReader(path: fixture("\(name)/diffusion_pytorch_model.safetensors"))
  }

  func cases() throws -> SafetensorsReader {
    try SafetensorsReader(path: fixture("\(name)/cases.safetensors"))
  }
}

/// A parameter's gradient and diffusers'.
private struct Gradient {
  let name: String
  let found, expected: [Float]

  init(_ name: String, _ found: [Float], expected: [Float]) {
    (self.name, self.found, self.expected) = (name, found, expected)
  }
}

/// A U-Net with diffusers' weights, and the case to test it with.
private struct LoadedUNet {
  let network: UNet
  let arena: Arena
  let cases: SafetensorsReader
  let x, target: Tensor
  let timesteps: [Float]
  /// `[N, T, D]`; nil for a network without cross-attention.
  let tokens: Tensor?
  /// The vectors of the images, `[N, E]`; nil for a network that reads none.
  let vectors: Tensor?
  let type: ScalarType

  init(_ fixture: UNetFixture, type: ScalarType = .float32, on backend: any Backend) throws {
    self.type = type
    let cases = try fixture.cases()
    self.cases = cases
    let scope = Scope()
    network = UNet(try fixture.configuration(), scope)
    arena = scope.makeArena(on: backend, seed: 1)
    try arena.load(arena.values, from: fixture.weights())
    func tensor(_ name: String) throws -> Tensor {
      let images = try cases.images(name)
      return Tensor(images.values, shape: images.shape, on: backend)
    }
    x = try tensor("x")
    target = try tensor("target")
    timesteps = try cases.integers("timesteps").map { Float($0) }
    tokens = try cases.entries["encoder_hidden_states"].map { entry in
      Tensor(try cases.floats("encoder_hidden_states"), shape: Shape(entry.shape), on: backend)
    }
    vectors = try cases.entries["class_labels"].map { entry in
      Tensor(try cases.floats("class_labels"), shape: Shape(entry.shape), on: backend)
    }
  }

  func output() -> Variable { output(Variable(x.cast(to: type)), tokens: tokens.map { Variable($0.cast(to: type)) }) }

  /// - Parameter tokens: nil for the case's own, as constants.
  func loss(_ x: Variable, tokens: Variable? = nil) -> Variable {
    elementwiseLoss(
      .squaredError, output(x, tokens: tokens ?? self.tokens.map { Variable($0, on: x.tape) }), target)
  }

  private func output(_ x: Variable, tokens: Variable?) -> Variable {
    let conditioning = Conditioning(
      vectors: vectors.map { Variable($0.cast(to: type), on: x.tape) }, tokens: tokens.map { ($0, nil) })
    return network(x, timesteps: timesteps, conditioning: conditioning)
  }
}
