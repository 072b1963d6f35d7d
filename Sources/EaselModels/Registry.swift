import EaselRunStorage
import EaselSupport
import EaselText
import Synchronization

/// A family of models: its name, its settings, and how to make one.
public protocol ModelFamily: Sendable {
  associatedtype Settings: ModelSettings
  /// As in `easel train NAME`.
  static var name: String { get }
  /// One line for `--help`.
  static var summary: String { get }
  /// Named, complete configurations; the family's name alone means the first.
  static var presets: [Preset<Settings>] { get }
  /// The data sets that it learns from; one, unless a family says otherwise.
  static var domains: Domains { get }
  /// Whether nearly all of its multiplications are in 3×3 convolutions; `--precision auto` may depend on it.
  static var convolves3x3: Bool { get }
  /// The checkpoint that its training goes on from; nil for a family that needs none.
  static var startingPoint: StartingPoint? { get }
  /// The models of other checkpoints that its models use as they are; none, unless a family says otherwise.
  static var parts: [ModelPart] { get }
  /// Other settings for images that are larger than those that a preset was made for, so that the same number of
  /// minutes still gives a result: keys with their values, as a person would set them.
  static func settings(_ preset: Preset<Settings>, for data: DataDescription) -> [(key: String, value: String)]
  /// What its models know of texts; nil, unless a family says otherwise. A run learns it once, before its first step, and
  /// its checkpoints hold it.
  ///
  /// - Parameters:
  ///   - settings: the settings of the model.
  ///   - captions: those of each training image; nil if the data have none.
  ///   - parts: the models of other checkpoints that the model uses.
  /// - Throws: `UserError` (usage) if the model needs captions and there are none.
  static func vocabulary(
    _ settings: Settings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary?
  /// Makes a model with fresh parameters.
  ///
  /// - Throws: `UserError` (usage) if settings and data do not fit together.
  static func make(_ settings: Settings, _ context: ModelContext) throws -> any Model
}

extension ModelFamily {
  public static var domains: Domains { .one }
  public static var convolves3x3: Bool { false }
  public static var startingPoint: StartingPoint? { nil }
  public static var parts: [ModelPart] { [] }
  public static func vocabulary(
    _ settings: Settings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? { nil }
  public static func settings(_ preset: Preset<Settings>, for data: DataDescription) -> [(key: String, value: String)] {
    []
  }
}

/// The data sets that a family learns from.
public enum Domains: Sendable {
  case one
  /// Two kinds of images, without known pairs.
  case unpaired
  /// Two kinds of images; image k of one belongs to image k of the other.
  case paired
}

/// A trained checkpoint that a family's training goes on from, and the settings that it decides.
public struct StartingPoint: Sendable {
  /// The families whose checkpoints are suitable.
  public let families: [String]
  /// A preset that makes one, for people who have none.
  public let example: String
  /// The keys of settings that the checkpoint fixes: with others, its weights would be useless.
  public let fixed: Set<String>
  /// The keys of settings that are taken from the checkpoint unless a person sets them.
  public let suggested: Set<String>
}

/// A family's own settings: a flat struct of declared fields.
public protocol ModelSettings: DeclaredFields {}

/// A named, complete configuration of a family.
public struct Preset<Settings: ModelSettings>: Sendable {
  public let name: String
  public let summary: String
  /// The size and channels that the preset was made for, used by `easel bench`.
  public let data: DataDescription
  public let training: TrainingSettings
  public let model: Settings

  public init(
    _ name: String, _ summary: String, data: DataDescription, training: TrainingSettings, model: Settings
  ) {
    self.name = name
    self.summary = summary
    self.data = data
    self.training = training
    self.model = model
  }
}

/// Every family in Easel. A new one is a folder beside this file and a line here.
package let bundledFamilies: [any ModelFamily.Type] = [
  AutoencoderFamily.self,
  DenoisingAutoencoderFamily.self,
  MaskedAutoencoderFamily.self,
  VariationalAutoencoderFamily.self,
  AutoencoderKLFamily.self,
  GANFamily.self,
  CycleGANFamily.self,
  Pix2PixFamily.self,
  DiffusionFamily.self,
  ConsistencyFamily.self,
  ClassifierFamily.self,
  CLIPFamily.self,
  PriorFamily.self,
]

private let addedFamilies = Mutex<[any ModelFamily.Type]>([])

/// All families: those of Easel, then those that a program has added.
public var modelFamilies: [any ModelFamily.Type] { bundledFamilies + addedFamilies.withLock { $0 } }

/// Adds a program's own family. Call it before anything else: from then on, requests and checkpoints find its presets
/// by name.
///
/// A family that was already added is not added again. A different family with the same name, or with the name of a
/// known preset, traps.
///
/// - Parameter family: the family.
public func addModelFamily(_ family: any ModelFamily.Type) {
  func names<Family: ModelFamily>(_ family: Family.Type) -> Set<String> {
    Set([family.name] + family.presets.map(\.name))
  }
  addedFamilies.withLock { added in
    let known = bundledFamilies + added
    if known.contains(where: { $0 == family }) { return }
    let taken = names(family).intersection(known.reduce(into: Set()) { $0.formUnion(names($1)) })
    if let name = taken.min() { fatalError("there is a family or a preset named \(name) already") }
    added.append(family)
  }
}

/// The data and the preset of a run; together with the settings, enough to repeat it.
public struct RunDescription: DeclaredFields, Hashable {
  public var preset: String
  /// A data set's name or path.
  public var data: String
  /// The second domain's data; nil for families of one domain.
  public var dataB: String?
  /// `N` or `W×H`; empty for the data's own size.
  public var imageSize: String
  /// Whether pictures that cannot be read are skipped.
  public var skipBroken = false
  /// How images of other proportions are brought to `imageSize`, and pictures to the model's size.
  public var fit = ImageFit.crop
  /// Makes captions of the classes' names; empty for the data's own captions. See `CaptionTemplate`.
  public var captionTemplate = ""

  public init() { (preset, data, imageSize) = ("", "", "") }

  init(preset: String, data: String, dataB: String?, imageSize: String) {
    (self.preset, self.data, self.dataB, self.imageSize) = (preset, data, dataB, imageSize)
  }

  public static let fields: [Field<RunDescription>] = [
    Field("preset", \.preset, "the preset that the settings began as").fixed,
    Field("data", \.data, "a data set by name or path; empty for Fashion-MNIST").fixed,
    Field("data-b", \.dataB, "the second data set").fixed,
    Field("image-size", \.imageSize, "images are brought to N or WxH; empty for the size that they have").fixed,
    Field("skip-broken", \.skipBroken, "whether pictures that cannot be read are left out").fixed,
    Field(
      "fit", \.fit, "images of other proportions are cropped to their middle, padded with black, or stretched"
    ).fixed,
    Field(
      "caption-template", \.captionTemplate,
      "captions made of the classes' names, such as \"a picture of a {}\"; empty for those of the data"
    ).fixed,
  ]
}

/// A preset without the type of its settings, as the program uses it.
public struct AnyPreset: Sendable {
  public let family: any ModelFamily.Type
  public let name: String
  public let summary: String
  public let data: DataDescription
  private let settings: @Sendable (RunDescription) throws -> ConfigurationDocument
  private let learn: @Sendable (ConfigurationDocument, [[String]]?, [String: any Model]) throws -> Vocabulary?
  private let build: @Sendable (ConfigurationDocument, ModelContext) throws -> any Model
  private let fitting: @Sendable (ConfigurationDocument, DataDescription) throws -> [(key: String, value: String)]
  private let idleModelSettings: @Sendable (ConfigurationDocument) throws -> [IdleField]
  private let modelSchema: @Sendable (ConfigurationDocument) throws -> [FieldSchema]

  package init<Family: ModelFamily>(_ family: Family.Type, _ preset: Preset<Family.Settings>) {
    self.family = family
    (name, summary, data) = (preset.name, preset.summary, preset.data)
    settings = { run in
      let absent: Set = run.dataB == nil ? [RunDescription.key(\.dataB)] : []
      return try ConfigurationDocument(defaults: run, preset.training, preset.model, leavingOut: absent)
    }
    learn = { document, captions, parts in
      try Family.vocabulary(document.decode(Family.Settings.self), captions: captions, parts: parts)
    }
    build = { document, context in
      let settings = try document.decode(Family.Settings.self)
      try settings.validate()
      return try Family.make(settings, context)
    }
    fitting = { document, data in
      let asked = Preset(
        preset.name, preset.summary, data: preset.data, training: preset.training,
        model: try document.decode(Family.Settings.self))
      return Family.settings(asked, for: data)
    }
    idleModelSettings = { try $0.decode(Family.Settings.self).idle }
    modelSchema = { try $0.decode(Family.Settings.self).schema }
  }

  /// The data and the preset, the training's settings and the model's settings as one document.
  public func configuration(data: String = "", dataB: String = "", imageSize: String = "") throws
    -> ConfigurationDocument
  {
    try settings(
      RunDescription(
        preset: name, data: data, dataB: family.domains == .one ? nil : dataB, imageSize: imageSize))
  }

  /// Fits the settings to larger images than the preset was made for, unless a person has set one of them.
  ///
  /// - Returns: what was set, for people; nil if nothing was.
  /// - Throws: `UserError(.internalFailure)` if a family names an unknown setting.
  public func fit(_ document: inout ConfigurationDocument, to data: DataDescription) throws -> String? {
    let settings = try fitting(document, data)
    if settings.isEmpty || settings.contains(where: { document.isSet($0.key) }) { return nil }
    for (key, value) in settings { try document.set(key, to: value, origin: .place("for images of this size")) }
    let list = settings.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
    return "For images of \(data.width)×\(data.height): \(list); set one to keep the preset's values of the rest."
  }

  /// Takes over the settings that a training's starting checkpoint decides. Families that need no checkpoint have none.
  ///
  /// - Parameters:
  ///   - document: the settings of the training.
  ///   - source: the checkpoint's settings.
  ///   - preset: the preset that the checkpoint was trained as.
  ///   - name: the checkpoint's name in messages.
  /// - Throws: `UserError` (usage) for a checkpoint of another family, and if a person has set what the checkpoint
  ///   decides.
  public func build(
    _ document: inout ConfigurationDocument, on source: ConfigurationDocument, of preset: AnyPreset, named name: String
  ) throws {
    guard let startingPoint = family.startingPoint else { return }
    guard startingPoint.families.contains(preset.family.name) else {
      throw UserError(
        .usage,
        "\(field: "from"): expected a checkpoint of \(startingPoint.families.joined(separator: " or ")), found \(name) of "
          + preset.name,
        hint: "Train one with: easel train \(startingPoint.example)")
    }
    for (key, value, other, _) in source.changes(from: document) {
      if document.isSet(key) {
        guard startingPoint.fixed.contains(key) else { continue }
        throw UserError(
          .usage, "\(key): expected \(value), as the checkpoint \(name) has it, found \(other)",
          hint: "Leave it out: the network and its noise are the checkpoint's.")
      }
      guard startingPoint.fixed.union(startingPoint.suggested).contains(key) else { continue }
      try document.set(key, to: value, origin: .place("the checkpoint \(name)"))
    }
  }

  /// The settings of a document that have no effect given the others.
  func idle(in document: ConfigurationDocument) throws -> [IdleField] {
    try document.decode(TrainingSettings.self).idle + idleModelSettings(document)
  }

  /// A description of every setting of a document, in its order, with present values.
  ///
  /// - Throws: `UserError` (usage) if a value has another type than its setting.
  public func schema(of document: ConfigurationDocument) throws -> [FieldSchema] {
    let all =
      try document.decode(RunDescription.self).schema + document.decode(TrainingSettings.self).schema
      + modelSchema(document)
    return all.filter { document.keys.contains($0.key) }
  }

  /// A document's settings for a form: the preset, every setting by its key, and their order.
  ///
  /// - Throws: the same as ``schema(of:)``.
  public func settingsSchema(of document: ConfigurationDocument) throws -> SettingsSchema {
    let fields = try schema(of: document)
    return SettingsSchema(
      title: name, family: family.name, description: summary, order: fields.map(\.key),
      properties: Dictionary(uniqueKeysWithValues: fields.map { ($0.key, $0) }))
  }

  /// What the model that a document describes will know of texts; nil if it reads none.
  ///
  /// - Parameters:
  ///   - document: the settings of the training.
  ///   - captions: those of each training image; nil if the data have none.
  ///   - parts: the models of other checkpoints that the model uses.
  /// - Throws: `UserError` (usage) if the model needs captions and there are none.
  public func vocabulary(
    _ document: ConfigurationDocument, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? {
    try learn(document, captions, parts)
  }

  /// Makes the model that a document describes.
  ///
  /// - Throws: `UserError` (usage) if settings make no sense.
  public func makeModel(_ document: ConfigurationDocument, _ context: ModelContext) throws -> any Model {
    try build(document, context)
  }

  /// All presets of all families.
  public static var all: [AnyPreset] {
    func presets<Family: ModelFamily>(_ family: Family.Type) -> [AnyPreset] {
      family.presets.map { AnyPreset(family, $0) }
    }
    return modelFamilies.flatMap { presets($0) }
  }

  /// The preset with a name, or the first preset of the family with that name.
  ///
  /// - Throws: `UserError` (usage) with the nearest known name.
  public static func named(_ name: String) throws -> AnyPreset {
    if let preset = all.first(where: { $0.name == name }) ?? all.first(where: { $0.family.name == name }) {
      return preset
    }
    let known = all.map(\.name)
    let names = known + modelFamilies.map { $0.name }.filter { !known.contains($0) }
    throw UserError(
      .usage, "there is no preset or family \(name)",
      hint: nearestName(to: name, among: names).map { "Did you mean \($0)?" }
        ?? "Known: \(names.joined(separator: ", ")).")
  }
}

/// The settings of a preset, in the words of JSON Schema (draft 2020-12).
public struct SettingsSchema: Encodable {
  public let title, family, description: String
  public let type = "object"
  public let additionalProperties = false
  /// The keys in the order for a form.
  public let order: [String]
  public let properties: [String: FieldSchema]
}
