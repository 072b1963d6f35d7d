import EaselSupport
import EaselText
import Foundation

/// The files of a folder that diffusers or transformers load.
struct FolderDraft {
  /// The class that loads it.
  let kind: String
  private var documents: [String: JSONValue] = [:]
  private var weights: [String: [SafetensorsWriter.Tensor]] = [:]
  private var tokenizers: [String: BytePairTokenizer] = [:]
  /// What a person reads first.
  var guide = ""
  /// What is drawn otherwise than by Easel, in sentences.
  var remarks: [String] = []

  init(_ kind: String) { self.kind = kind }

  /// The file with ``guide``, and what its exports are known by.
  static let guideFile = "README.md"
  static let guideMark = "Exported by Easel"
  /// The version of diffusers whose files these are.
  private static let diffusersVersion = "0.42.1"

  mutating func add(_ document: JSONValue, as path: String) { documents[path] = document }
  mutating func add(_ tensors: [SafetensorsWriter.Tensor], as path: String) { weights[path] = tensors }

  /// Adds a document of diffusers, with its version.
  mutating func add(diffusers document: JSONValue, as path: String) {
    guard case .object(var fields) = document else { return }
    fields["_diffusers_version"] = .text(Self.diffusersVersion)
    documents[path] = .object(fields)
  }

  /// Adds the files of transformers' `CLIPTokenizer`.
  ///
  /// - Parameters:
  ///   - tokenizer: the tokenizer.
  ///   - filler: the token that fills up texts; empty for that of their end.
  ///   - length: the tokens of a text.
  ///   - folder: a folder in this one, with a slash at its end; empty for this one.
  mutating func add(_ tokenizer: BytePairTokenizer, filler: String, length: Int, in folder: String) {
    tokenizers[folder] = tokenizer
    let end = tokenizer.tokens[Int(tokenizer.end)]
    let special: [String: JSONValue] = [
      "bos_token": .text(tokenizer.tokens[Int(tokenizer.start)]), "eos_token": .text(end),
      "pad_token": .text(filler.isEmpty ? end : filler), "unk_token": .text(end),
    ]
    documents[folder + "special_tokens_map.json"] = .object(special)
    let others: [String: JSONValue] = [
      "add_prefix_space": false, "do_lower_case": true, "errors": "replace", "model_max_length": JSONValue(length),
      "tokenizer_class": "CLIPTokenizer",
    ]
    documents[folder + ForeignFolder.tokenizerFile] = .object(special.merging(others) { $1 })
  }

  /// Puts another folder's files into one of this.
  mutating func add(_ other: FolderDraft, in name: String) {
    for (path, document) in other.documents { documents["\(name)/\(path)"] = document }
    for (path, tensors) in other.weights { weights["\(name)/\(path)"] = tensors }
    for (path, tokenizer) in other.tokenizers { tokenizers["\(name)/\(path)"] = tokenizer }
  }

  /// Writes everything.
  ///
  /// - Parameters:
  ///   - folder: is there already.
  ///   - type: what weights are stored as: float32 or bfloat16.
  func write(to folder: String, as type: ElementType) throws {
    let paths = Array(documents.keys) + weights.keys + tokenizers.keys.map { $0 + "." }
    for path in Set(paths.map { ("\(folder)/\($0)" as NSString).deletingLastPathComponent }).sorted() {
      try WholeFolder.makeFolder(path)
    }
    for (path, document) in documents { try RunFolder.write(document.document(), to: "\(folder)/\(path)") }
    for (path, tensors) in weights {
      try SafetensorsWriter.write(
        type == .bfloat16 ? tensors.map(\.asBFloat16) : tensors, metadata: ["format": "pt"], to: "\(folder)/\(path)")
    }
    for (path, tokenizer) in tokenizers { try tokenizer.write(to: "\(folder)/\(path)") }
    try RunFolder.write(guide, to: "\(folder)/\(Self.guideFile)")
  }
}

extension LoadedModel {
  /// Writes the model as a folder that diffusers or transformers load and draw the same pictures with.
  ///
  /// - Parameters:
  ///   - path: the new folder, which exists completely or not at all.
  ///   - type: what weights are stored as, `.float32` or `.bfloat16`.
  ///   - replacing: whether another such folder makes way.
  /// - Returns: the class that loads the folder, and what it draws otherwise, in sentences.
  /// - Throws: `UserError`: unavailable with the reason if those programs cannot do what this model does; cannot create
  ///   if the folder is there already or cannot be written.
  public func exportForeign(
    to path: String, as type: ElementType, replacing: Bool = false
  ) throws -> (kind: String, remarks: [String]) {
    let draft = try draft()
    // Only what an export has written makes way, not every folder with a file of a common name.
    let isOwn =
      (try? String(contentsOfFile: "\(path)/\(FolderDraft.guideFile)", encoding: .utf8))?
      .contains(FolderDraft.guideMark) ?? false
    try WholeFolder.write(to: path, replacing: replacing ? isOwn : nil) { try draft.write(to: $0, as: type) }
    return (draft.kind, draft.remarks)
  }

  private func draft() throws -> FolderDraft {
    var draft: FolderDraft
    switch model {
    case let model as Diffusion: draft = try model.folder()
    case let model as AutoencoderKL: draft = try model.folder()
    case let model as CLIP: draft = try model.folder()
    case let model as CLIPTextEncoder: draft = try model.folder()
    default:
      throw UserError(
        .unavailable, "\(state.preset): diffusers and transformers have no such model",
        hint: "Families that they have: \(DiffusionFamily.name), \(AutoencoderKLFamily.name), \(CLIPFamily.name).")
    }
    draft.guide = """
      # \(draft.kind)

      \(FolderDraft.guideMark) \(easelVersion): \(state.preset), step \(state.step), model \(modelHash.prefix(16)).

      \((draft.remarks + [draft.guide]).joined(separator: "\n\n"))

      """
    return draft
  }
}

extension AutoencoderKL {
  fileprivate func folder() throws -> FolderDraft {
    var draft = FolderDraft(settings.kind == .vq ? "VQModel" : "AutoencoderKL")
    try draft.add(diffusers: diffusersDocument(), as: ForeignFolder.configurationFile)
    draft.add(components[0].arena.tensors(), as: ForeignFolder.weightsFile)
    draft.guide = """
      Images have values -1 to 1. Latents are to be multiplied by `scaling_factor`, and divided by it before they are decoded:

          from diffusers import \(draft.kind)
          model = \(draft.kind).from_pretrained("PATH OF THIS FOLDER")
      """
    return draft
  }
}

extension CLIPTextEncoder {
  fileprivate func folder() throws -> FolderDraft {
    guard let tokenizer = context.vocabulary?.tokenizer else { throw UserError(.internalFailure, "no vocabulary") }
    var draft = FolderDraft(textNetwork: self, settings, tokenizer)
    draft.add(tokenizer, filler: settings.filler, length: textLength, in: "")
    draft.guide = """
          from transformers import CLIPTextModel, CLIPTokenizer
          model = CLIPTextModel.from_pretrained("PATH OF THIS FOLDER")
          tokenizer = CLIPTokenizer.from_pretrained("PATH OF THIS FOLDER")
          texts = tokenizer(["a text"], padding="max_length", truncation=True, return_tensors="pt")
          tokens = model(texts.input_ids).last_hidden_state
      """
    return draft
  }
}

extension CLIP {
  fileprivate func folder() throws -> FolderDraft {
    guard let tokenizer = context.vocabulary?.tokenizer else { throw UserError(.internalFailure, "no vocabulary") }
    var draft = FolderDraft("CLIPModel")
    try draft.add(settings.document(tokenizer, context.data), as: ForeignFolder.configurationFile)
    draft.add(settings.processorDocument(context.data), as: "preprocessor_config.json")
    draft.add(components[0].arena.tensors(), as: ForeignFolder.modelFile)
    draft.add(tokenizer, filler: settings.filler, length: textLength, in: "")
    draft.guide = """
          from transformers import CLIPModel, CLIPProcessor
          model = CLIPModel.from_pretrained("PATH OF THIS FOLDER")
          processor = CLIPProcessor.from_pretrained("PATH OF THIS FOLDER")
          inputs = processor(text=["a text"], images=[image], padding="max_length", return_tensors="pt")
          scores = model(**inputs).logits_per_image
      """
    return draft
  }
}

extension FolderDraft {
  /// The text network of a model, alone.
  fileprivate init(textNetwork model: any Model, _ settings: CLIPSettings, _ tokenizer: BytePairTokenizer) {
    self.init("CLIPTextModel")
    add(settings.textDocument(tokenizer), as: ForeignFolder.configurationFile)
    add(
      model.components[0].arena.tensors { $0.hasPrefix(ForeignFolder.textPrefix) ? $0 : nil },
      as: ForeignFolder.modelFile)
  }
}

extension Diffusion {
  /// The prefix of the text network that is trained along.
  private static let ownText = "text_encoder."
  /// An input that is zero for drawn images.
  private static let augmentation = "augmentation_embedding."

  fileprivate func folder() throws -> FolderDraft {
    if case .embeddings = conditionKind {
      throw UserError(
        .unavailable, "likeness: no pipeline of diffusers draws what is like a picture in this way",
        hint: "Only models of nothing, of classes and of texts can be exported.")
    }
    let autoencoder = context.parts[DiffusionSettings.key(\.space)] as? AutoencoderKL
    let (schedule, remarks) = try schedulerDocument()
    // The one draws with any scheduler that needs no scaled noise, the other makes DDIM of any scheduler.
    let isAncestral = ["DDPMScheduler", "DPMSolverMultistepScheduler"].contains(schedule["_class_name"]?.text)
    let kind =
      if settings.captions {
        "StableDiffusionPipeline"
      } else if autoencoder != nil {
        "LDMPipeline"
      } else {
        isAncestral ? "DDPMPipeline" : "DDIMPipeline"
      }
    var draft = FolderDraft(kind)
    draft.remarks = remarks
    var index: [String: JSONValue] = ["_class_name": .text(kind)]
    func add(_ component: FolderDraft, as name: String, from library: String = "diffusers") {
      draft.add(component, in: name)
      index[name] = [.text(library), .text(component.kind)]
    }

    var scheduler = FolderDraft(schedule["_class_name"]?.text ?? "")
    scheduler.add(diffusers: schedule, as: ForeignFolder.schedulerFile)
    add(scheduler, as: "scheduler")
    try add(network(), as: "unet")
    if let autoencoder {
      try requireSquare()
      try add(autoencoder.folder(), as: settings.captions ? "vae" : "vqvae")
    }
    if settings.captions {
      guard !settings.pooledText else {
        throw UserError(
          .unavailable,
          "no pipeline of diffusers gives a network of latents the last token of a text, as pooled-text does",
          hint: "Train one with \(field: "set") pooled-text=false.")
      }
      guard autoencoder?.settings.kind == .kl else {
        throw UserError(
          .unavailable,
          "no pipeline of diffusers draws \(autoencoder == nil ? "pixels" : "latents of a codebook") from texts",
          hint: "Train one with \(field: "set") space=CHECKPOINT of autoencoder-kl with kind=kl.")
      }
      let (text, tokenizer) = try textFolders()
      add(text, as: "text_encoder", from: "transformers")
      add(tokenizer, as: "tokenizer", from: "transformers")
      for name in ["feature_extractor", "image_encoder", "safety_checker"] { index[name] = [nil, nil] }
      index["requires_safety_checker"] = false
    }
    draft.add(diffusers: .object(index), as: ForeignFolder.pipelineFile)
    draft.guide = guide(kind)
    return draft
  }

  private func requireSquare() throws {
    let data = context.data
    guard data.width == data.height else {
      throw UserError(
        .unavailable, "diffusers' pipelines of latents draw square images only, found \(data.width)×\(data.height)")
    }
  }

  /// The scheduler's document, and what it draws otherwise than the model's own settings.
  private func schedulerDocument() throws -> (JSONValue, remarks: [String]) {
    var (settings, remarks) = (settings, [String]())
    settings.clip = denoiser.clips
    if settings.variance == .learnedRange, settings.sampler != .ddpm, settings.sampler != .dpm {
      remarks.append(
        "The sampler is ddpm instead of \(settings.sampler.rawValue): only DDPMScheduler and DPMSolverMultistepScheduler "
          + "know that half of the network's output is a variance.")
      settings.sampler = .ddpm
    }
    var document = try JSONDecoder().decode(JSONValue.self, from: DiffusersScheduler.json(for: settings))
    let most = schedule.level(schedule.count - 1).ratio
    if [.dpm, .heun].contains(settings.sampler), settings.karrasSigmas, settings.maximumNoise < most {
      remarks.append(
        "The noise begins at \(Float(most)) instead of maximum-noise \(Float(settings.maximumNoise)): of diffusers' "
          + "schedulers with Karras et al.'s levels, only EulerDiscreteScheduler can begin lower.")
    }
    let clips = try DiffusersScheduler(Data(document.document().utf8)).settings.clip
    if settings.clip, !clips {
      let name = document["_class_name"]?.text ?? ""
      remarks.append("Predicted images are not clipped to ±\(settings.clipRange): \(name) cannot do that.")
    }
    if settings.captions, case .object(var fields) = document {
      if settings.spacing == .leading, settings.stepsOffset != 1 {
        remarks.append(
          "The timesteps begin at 1 instead of \(settings.stepsOffset): StableDiffusionPipeline changes every other "
            + "steps_offset to 1.")
      }
      fields["steps_offset"] = 1
      document = .object(fields)
    }
    return (document, remarks)
  }

  /// The network's folder. Classes get a row more, of zeros, which stands for none.
  private func network() throws -> FolderDraft {
    var configuration = denoiser.networkConfiguration
    let arena = components[0].arena
    var tensors = arena.tensors { $0.hasPrefix(Self.ownText) || $0.hasPrefix(Self.augmentation) ? nil : $0 }
    if configuration.classCount > 0,
      let table = arena.parameters.first(where: { $0.name == ForeignFolder.classTable }),
      let place = tensors.firstIndex(where: { $0.name == ForeignFolder.classTable })
    {
      configuration.classCount += 1
      let width = table.shape.last
      let rows = table.value.values() + [Float](repeating: 0, count: width)
      tensors[place] = SafetensorsWriter.Tensor(
        name: ForeignFolder.classTable, shape: [configuration.classCount, width], floats: rows)
    }
    var draft = FolderDraft(configuration.crossAttention == nil ? "UNet2DModel" : "UNet2DConditionModel")
    try draft.add(
      diffusers: configuration.diffusersDocument(size: denoiser.spaceSize), as: ForeignFolder.configurationFile)
    draft.add(tensors, as: ForeignFolder.weightsFile)
    return draft
  }

  /// The folders of the text network and of the tokenizer.
  private func textFolders() throws -> (FolderDraft, FolderDraft) {
    let part = context.parts[DiffusionSettings.key(\.text)]
    guard let tokenizer = (part?.context ?? context).vocabulary?.tokenizer else {
      throw UserError(.internalFailure, "no vocabulary")
    }
    var text = FolderDraft("CLIPTextModel")
    var (filler, length) = ("", settings.contextLength)
    switch part {
    case let part as CLIP:
      text = FolderDraft(textNetwork: part, part.settings, tokenizer)
      (filler, length) = (part.settings.filler, part.textLength)
    case let part as CLIPTextEncoder:
      text = FolderDraft(textNetwork: part, part.settings, tokenizer)
      (filler, length) = (part.settings.filler, part.textLength)
    case nil:
      text.add(settings.textDocument(tokenizer), as: ForeignFolder.configurationFile)
      text.add(
        components[0].arena.tensors { name in
          name.hasPrefix(Self.ownText) ? String(name.dropFirst(Self.ownText.count)) : nil
        }, as: ForeignFolder.modelFile)
    default:
      throw UserError(.unavailable, "text: transformers has no text network like that of this model")
    }
    var words = FolderDraft("CLIPTokenizer")
    words.add(tokenizer, filler: filler, length: length, in: "")
    return (text, words)
  }

  private func guide(_ kind: String) -> String {
    let load = """
          from diffusers import DiffusionPipeline
          pipeline = DiffusionPipeline.from_pretrained("PATH OF THIS FOLDER")
      """
    switch conditionKind {
    case .texts:
      return load + """

            picture = pipeline(
                "a text", guidance_scale=\(settings.guidance), num_inference_steps=\(settings.samplerSteps)).images[0]
        """
    case .classes:
      let (count, size) = (context.data.classNames.count, denoiser.spaceSize)
      let names = context.data.list(Array(context.data.classNames.indices))
      let decoded = "pipeline.vqvae.decode(x / pipeline.vqvae.config.scaling_factor).sample"
      return """
        No pipeline of diffusers draws classes, so draw with the network and the scheduler. The classes are 0 to \(count - 1): \
        \(names). Class \(count) stands for none, for guidance.

            import torch
        \(load)
            unet, scheduler = pipeline.unet, pipeline.scheduler
            scheduler.set_timesteps(\(settings.samplerSteps))
            x = torch.randn(4, unet.config.in_channels, \(size.height), \(size.width)) * scheduler.init_noise_sigma
            for t in scheduler.timesteps:
                with torch.no_grad():
                    output = unet(scheduler.scale_model_input(x, t), t, class_labels=torch.tensor([0] * 4)).sample
                x = scheduler.step(output, t, x).prev_sample
            with torch.no_grad():
                pictures = (\(settings.space.isEmpty ? "x" : decoded) / 2 + 0.5).clamp(0, 1)
        """
    default:
      return load + """

            picture = pipeline(num_inference_steps=\(settings.samplerSteps)).images[0]
        """
    }
  }
}

extension Arena {
  /// The values as float32 tensors, under other names.
  ///
  /// - Parameter rename: gives a parameter's new name; nil leaves it out.
  fileprivate func tensors(_ rename: (String) -> String? = { $0 }) -> [SafetensorsWriter.Tensor] {
    zip(parameters, valueEntries).compactMap { parameter, entry in rename(parameter.name).map(entry.named) }
  }
}
