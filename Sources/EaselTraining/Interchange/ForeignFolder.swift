import EaselSupport
import EaselText
import Foundation

/// A folder in which diffusers or transformers have saved a pipeline or a model.
public struct ForeignFolder {
  static let pipelineFile = "model_index.json"
  static let configurationFile = "config.json"
  static let schedulerFile = "scheduler_config.json"
  /// The weights of diffusers' models, and of transformers'.
  static let weightsFile = "diffusion_pytorch_model.safetensors"
  static let modelFile = "model.safetensors"
  /// The limit of a JSON document's size in bytes.
  private static let maximumDocumentSize = 1 << 22

  private static let pipelines: [String: @Sendable (ForeignFolder, Pipeline) throws -> ForeignModel] = [
    "DDPMPipeline": { try $0.imagePipeline($1) }, "DDIMPipeline": { try $0.imagePipeline($1) },
    "LDMPipeline": { try $0.latentPipeline($1) }, "StableDiffusionPipeline": { try $0.textPipeline($1) },
  ]
  private static let models: [String: @Sendable (ForeignFolder) throws -> ForeignModel] = [
    "UNet2DModel": { try $0.network("UNet2DModel", scheduler: $0) },
    "AutoencoderKL": { try $0.autoencoder() }, "VQModel": { try $0.autoencoder() },
    "CLIPModel": { try $0.clip("CLIPModel", tokenizer: $0) },
    "CLIPTextModel": { try $0.clip("CLIPTextModel", tokenizer: $0) },
  ]

  let path: String

  /// Reads what a folder holds; its weights are read when the model is written.
  ///
  /// - Throws: `UserError`: missing input for a folder or a file that is not there, bad data naming the file and the
  ///   field or the tensor that Easel has no model for.
  public static func model(in path: String) throws -> ForeignModel {
    let folder = ForeignFolder(path: path)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw UserError(
        .missingInput, "\(path): there is no such folder",
        hint: "Download all files of the model first; Easel reads folders on this machine only.")
    }
    guard isFolder.boolValue else {
      throw UserError(
        .usage, "\(path): expected the folder that a model was saved into, found a file",
        hint: "Name the folder with its \(pipelineFile) or \(configurationFile).")
    }
    if folder.has(pipelineFile) {
      let pipeline = try Pipeline(folder)
      guard let read = pipelines[pipeline.name] else {
        throw folder.refusal(pipelineFile, "_class_name", pipeline.name, among: pipelines.keys.sorted())
      }
      return try read(folder, pipeline)
    }
    guard folder.has(configurationFile) else {
      throw UserError(
        .missingInput, "\(path): expected \(pipelineFile) or \(configurationFile), found neither",
        hint: "Name the folder that diffusers or transformers saved the model into.")
    }
    let document = try folder.document(configurationFile)
    let name = document["_class_name"]?.text ?? document["architectures"]?.list?.first?.text ?? ""
    guard let read = models[name] else {
      let key = document["_class_name"] == nil ? "architectures" : "_class_name"
      throw folder.refusal(configurationFile, key, name, among: models.keys.sorted())
    }
    return try read(folder)
  }

  // MARK: Pipelines

  /// A `model_index.json`: the pipeline's class and its components.
  private struct Pipeline {
    let name: String
    private let folder: ForeignFolder
    private let document: JSONValue

    init(_ folder: ForeignFolder) throws {
      self.folder = folder
      document = try folder.document(pipelineFile)
      name = document["_class_name"]?.text ?? ""
    }

    /// The class of a component; nil if the pipeline has none of that name.
    func className(of component: String) -> String? { document[component]?.list?.last?.text }

    /// The folder of a component; if it has none of its own, it is in that of the pipeline.
    func component(_ name: String, of classes: [String]) throws -> ForeignFolder {
      guard let found = className(of: name) else {
        throw UserError(.badData, "\(folder.path)/\(pipelineFile): \(name): expected a component, found none")
      }
      guard classes.isEmpty || classes.contains(found) else {
        throw folder.refusal(pipelineFile, name, found, among: classes)
      }
      return folder.has(name) ? ForeignFolder(path: "\(folder.path)/\(name)") : folder
    }

    /// Remarks on components that are there and not read.
    func remarks(on components: [(name: String, effect: String)]) -> [String] {
      components.filter { className(of: $0.name) != nil }.map { "\($0.name) is left out: \($0.effect)." }
    }
  }

  private func imagePipeline(_ pipeline: Pipeline) throws -> ForeignModel {
    try pipeline.component("unet", of: ["UNet2DModel"])
      .network(pipeline.name, scheduler: pipeline.component("scheduler", of: []), named: self)
  }

  private func latentPipeline(_ pipeline: Pipeline) throws -> ForeignModel {
    try pipeline.component("unet", of: ["UNet2DModel"]).network(
      pipeline.name, scheduler: pipeline.component("scheduler", of: []),
      space: pipeline.component("vqvae", of: DiffusersAutoencoder.classes), named: self)
  }

  private func textPipeline(_ pipeline: Pipeline) throws -> ForeignModel {
    let text = try pipeline.component("text_encoder", of: ["CLIPTextModel"])
      .clip("CLIPTextModel", tokenizer: pipeline.component("tokenizer", of: ["CLIPTokenizer", "CLIPTokenizerFast"]))
    var model = try pipeline.component("unet", of: ["UNet2DConditionModel"]).network(
      pipeline.name, scheduler: pipeline.component("scheduler", of: []),
      space: pipeline.component("vae", of: ["AutoencoderKL"]), text: text, named: self)
    model.remarks += pipeline.remarks(on: [
      ("safety_checker", "pictures are not examined"), ("feature_extractor", "only the safety checker reads it"),
      ("image_encoder", "pictures are no prompts here"),
    ])
    return model
  }

  // MARK: Models

  /// A diffusion model.
  ///
  /// - Parameters:
  ///   - kind: the class of the whole.
  ///   - schedulerFolder: the folder of the scheduler.
  ///   - space: the folder of the autoencoder in whose latents it works; nil for pixels.
  ///   - text: the encoder of its texts; nil if it reads none.
  ///   - folder: the folder of the whole; nil for this one.
  private func network(
    _ kind: String, scheduler schedulerFolder: ForeignFolder, space: ForeignFolder? = nil, text: ForeignModel? = nil,
    named folder: ForeignFolder? = nil
  ) throws -> ForeignModel {
    let network = try read(Self.configurationFile) { try DiffusersNetwork($0) }
    let c = network.configuration
    var remarks: [String] = []
    var settings = DiffusionSettings()
    if schedulerFolder.has(Self.schedulerFile) {
      let scheduler = try schedulerFolder.read(Self.schedulerFile) { try DiffusersScheduler($0) }
      (settings, remarks) = (scheduler.settings, scheduler.remarks)
    } else {
      settings = try DiffusersScheduler(Data(#"{"_class_name": "DDPMScheduler"}"#.utf8)).settings
      remarks.append("There is no \(Self.schedulerFile): the noise is taken to be that of diffusers' DDPMScheduler.")
    }
    let autoencoder = try space?.autoencoder(forLatentsOf: network.size)
    // Their checkpoints' places are not known yet.
    settings.space = autoencoder == nil ? "" : "space"
    settings.text = text == nil ? "" : "text"
    if text != nil { settings.guidance = Self.textGuidance }
    try check(network, in: autoencoder, reading: text)
    try read(Self.configurationFile) { _ in try network.apply(to: &settings) }

    let scope = Scope()
    _ = UNet(c, scope)
    let weights = try WeightsFolder(path).withCurrentNames()
    var tensors = try weights.tensors(of: scope.shapes)
    var classes = c.classCount
    if classes > 1, let place = tensors.firstIndex(where: { $0.name == Self.classTable }) {
      // A row of zeros is what stands for no class: see the export.
      let table = try weights.finiteFloats(Self.classTable)
      let width = table.count / classes
      if table.suffix(width).allSatisfy({ $0 == 0 }) {
        classes -= 1
        tensors[place] = SafetensorsWriter.Tensor(
          name: Self.classTable, shape: [classes, width], floats: Array(table.dropLast(width)))
      } else {
        settings.guidance = 1
        remarks.append("It was trained with a class for each image, so guidance has nothing to go away from.")
      }
    }
    var model = try ForeignModel(
      kind, in: (folder ?? self).path, DiffusionFamily.self, settings,
      data: DataDescription(
        width: autoencoder?.data.width ?? network.size.width, height: autoencoder?.data.height ?? network.size.height,
        channels: autoencoder?.data.channels ?? c.inputChannels, classNames: (0..<classes).map(String.init)),
      tensors: tensors, remarks: remarks)
    model.parts[DiffusionSettings.key(\.space)] = autoencoder
    model.parts[DiffusionSettings.key(\.text)] = text
    model.vocabulary = text?.vocabulary
    return model
  }

  static let classTable = "class_embedding.weight"
  /// The guidance of `StableDiffusionPipeline` if none is asked for.
  private static let textGuidance: Float = 7.5

  /// Checks that a network works on what the pipeline's other models give it.
  private func check(_ network: DiffusersNetwork, in space: ForeignModel?, reading text: ForeignModel?) throws {
    func expect(_ key: String, _ found: Int, among known: [Int], hint: String? = nil) throws {
      if known.contains(found) { return }
      throw UserError(
        .badData,
        "\(path)/\(Self.configurationFile): \(key): expected \(known.map(String.init).joined(separator: " or ")), found "
          + "\(found)", hint: hint)
    }
    try expect(
      "in_channels", network.configuration.inputChannels, among: space?.width.map { [$0] } ?? [1, 3],
      hint: space == nil ? "If it works in the latents of an autoencoder, import the whole pipeline's folder." : nil)
    if let tokens = network.configuration.crossAttention?.tokenWidth {
      try expect("cross_attention_dim", tokens, among: text?.width.map { [$0] } ?? [])
    }
  }

  /// A model of images and texts, or a text network alone.
  private func clip(_ kind: String, tokenizer folder: ForeignFolder) throws -> ForeignModel {
    let (tokenizer, filler, length) = try folder.tokenizer()
    let processors = ["preprocessor_config.json", "processor_config.json"]
    let processor = try processors.first(where: has).map { try read($0) { $0 } }
    let found = try read(Self.configurationFile) { try TransformersCLIP($0, processor: processor, filler: filler) }
    guard tokenizer.tokens.count == found.vocabularySize else {
      throw UserError(
        .badData,
        "\(folder.path): expected a tokenizer of \(found.vocabularySize) tokens, as config.json's vocab_size says, found "
          + "\(tokenizer.tokens.count)")
    }
    if let length, length != found.settings.contextLength {
      throw UserError(
        .badData,
        "\(folder.path)/\(Self.tokenizerFile): model_max_length: expected \(found.settings.contextLength), as "
          + "config.json's max_position_embeddings, found \(length)")
    }
    // Newer versions of transformers save a text network without the name that it has in a whole model.
    let file = try WeightsFolder(path)
    let weights: any TensorFile =
      found.imageSize == nil && !file.names.contains { $0.hasPrefix(Self.textPrefix) }
      ? try RenamedTensors(file) { (Self.textPrefix + $0, $1) } : file
    let side = found.imageSize ?? 1
    var model = try ForeignModel(
      kind, in: path, CLIPFamily.self, found.settings,
      data: DataDescription(width: side, height: side, channels: found.channels),
      tensors: weights.tensors(of: found.tensors) { $0.hasSuffix("embeddings.position_ids") })
    model.width = found.settings.textWidth
    model.vocabulary = Vocabulary(tokenizer)
    return model
  }

  static let tokenizerFile = "tokenizer_config.json"
  static let textPrefix = "text_model."
  /// Longer texts than this mean that the file knows no length.
  private static let maximumTextLength = 1 << 20

  /// The tokenizer, the token that it fills up texts with (empty for that of their end), and the length of texts, if the
  /// files have one.
  private func tokenizer() throws -> (BytePairTokenizer, filler: String, length: Int?) {
    let tokenizer = try BytePairTokenizer(folder: path)
    if has("added_tokens.json"), case .object(let added) = try document("added_tokens.json"),
      let token = added.keys.min(), !tokenizer.tokens.contains(token)
    {
      throw UserError(
        .badData,
        "\(path)/added_tokens.json: expected no tokens beside the vocabulary's, found \(token.debugDescription)")
    }
    let configuration = has(Self.tokenizerFile) ? try document(Self.tokenizerFile) : [:]
    var padding = configuration["pad_token"]
    // As transformers: the older file counts unless the newer one lists what was added.
    if has("special_tokens_map.json"), configuration["added_tokens_decoder"] == nil {
      padding = try document("special_tokens_map.json")["pad_token"] ?? padding
    }
    let token = padding?.text ?? padding?["content"]?.text ?? ""
    guard token.isEmpty || tokenizer.tokens.contains(token) else {
      throw UserError(
        .badData, "\(path): pad_token: expected a token of the vocabulary, found \(token.debugDescription)")
    }
    var length: Int?
    if case .number(let digits)? = configuration["model_max_length"] { length = Int(digits) }
    return (
      tokenizer, token == tokenizer.tokens[Int(tokenizer.end)] ? "" : token,
      length.flatMap { $0 < Self.maximumTextLength ? $0 : nil }
    )
  }

  /// An autoencoder.
  ///
  /// - Parameter latents: rows and columns of latents; nil if its own file knows the images' size.
  private func autoencoder(forLatentsOf latents: (height: Int, width: Int)? = nil) throws -> ForeignModel {
    let found = try read(Self.configurationFile) { json in
      let plain = try DiffusersAutoencoder(json, size: latents)
      guard let latents else { return plain }
      let factor = 1 << (plain.settings.channels.count - 1)
      return try DiffusersAutoencoder(json, size: (latents.height * factor, latents.width * factor))
    }
    let shapes = found.tensors
    let weights = try WeightsFolder(path).withCurrentNames()
    let scale = SafetensorsWriter.Tensor(
      name: DiffusersAutoencoder.prefix + DiffusersAutoencoder.scaleName, shape: [1], floats: [found.scalingFactor])
    var model = try ForeignModel(
      found.settings.kind == .vq ? "VQModel" : "AutoencoderKL", in: path, AutoencoderKLFamily.self, found.settings,
      data: DataDescription(width: found.size.width, height: found.size.height, channels: found.channels),
      tensors: weights.tensors(of: shapes, prefix: DiffusersAutoencoder.prefix) + [scale])
    model.width = found.settings.latentChannels
    return model
  }

  // MARK: Files

  func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(path)/\(name)") }

  /// Reads a JSON document; errors, which begin with the file's name, get the folder's path.
  func read<Value>(_ name: String, _ body: (Data) throws -> Value) throws -> Value {
    let data = Data(try FileIO.read("\(path)/\(name)", maximumSize: Self.maximumDocumentSize))
    do {
      return try body(data)
    } catch let error as UserError {
      let message = error.message.hasPrefix(name) ? error.message : "\(name): \(error.message)"
      throw UserError(.badData, "\(path)/\(message)", hint: error.hint)
    }
  }

  private func document(_ name: String) throws -> JSONValue {
    try read(name) { data in
      guard let document = try? JSONDecoder().decode(JSONValue.self, from: data), case .object = document else {
        throw UserError(.badData, "expected a JSON object, found something else")
      }
      return document
    }
  }

  private func refusal(_ file: String, _ key: String, _ found: String, among known: [String]) -> UserError {
    UserError(
      .badData,
      "\(path)/\(file): \(key): expected \(known.joined(separator: ", ")), found \(found.isEmpty ? "nothing" : found)")
  }
}
