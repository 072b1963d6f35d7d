import EaselRunStorage
import EaselSupport
import Synchronization

/// A family of models: what it is called, what it can be set to, and how it is made.
public protocol ModelFamily: Sendable {
  associatedtype Settings: ModelSettings
  /// As in `easel train NAME`.
  static var name: String { get }
  /// One line for `--help`.
  static var summary: String { get }
  /// Named, complete configurations; the first is what the family's name alone means.
  static var presets: [Preset<Settings>] { get }
  /// What it learns from; one data set, unless a family says otherwise.
  static var domains: Domains { get }
  /// Whether nearly all of its multiplications are those of 3×3 convolutions: what `--precision auto` may depend on.
  static var convolves3x3: Bool { get }
  /// What its training goes on from; nil for a family that can begin with nothing.
  static var startingPoint: StartingPoint? { get }
  /// The models of other checkpoints that its models use as they are; none, unless a family says otherwise.
  static var parts: [ModelPart] { get }
  /// Other settings for images that are larger than those a preset was made for, so that it gives something in as many minutes;
  /// keys with their values as one would set them.
  static func settings(_ preset: Preset<Settings>, for data: DataDescription) -> [(key: String, value: String)]
  /// Makes a model with fresh parameters.
  ///
  /// - Throws: `UserError` (usage) where settings and data do not fit together.
  static func make(_ settings: Settings, _ context: ModelContext) throws -> any Model
}

extension ModelFamily {
  public static var domains: Domains { .one }
  public static var convolves3x3: Bool { false }
  public static var startingPoint: StartingPoint? { nil }
  public static var parts: [ModelPart] { [] }
  public static func settings(_ preset: Preset<Settings>, for data: DataDescription) -> [(key: String, value: String)] {
    []
  }
}

/// The data sets that a family learns from.
public enum Domains: Sendable {
  case one
  /// Two kinds of images, without anything known of which belongs to which.
  case unpaired
  /// Two kinds of images, image k of one belonging to image k of the other.
  case paired
}

/// A trained checkpoint that a family's training goes on from, and what that decides.
public struct StartingPoint: Sendable {
  /// The families whose checkpoints will do.
  public let families: [String]
  /// A preset that makes one, for people who have none.
  public let example: String
  /// The keys of settings that are the checkpoint's: its weights are of no use with others.
  public let fixed: Set<String>
  /// The keys of settings that are the checkpoint's unless a person sets them.
  public let suggested: Set<String>
}

/// A family's own settings: a flat struct of declared fields.
public protocol ModelSettings: DeclaredFields {}

/// A named, complete configuration of a family.
public struct Preset<Settings: ModelSettings>: Sendable {
  public let name: String
  public let summary: String
  /// The size and channels that the preset was made for: what `easel bench` feeds it.
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

/// Every family of Easel. A new one is a folder beside this file and a line here.
package let bundledFamilies: [any ModelFamily.Type] = [
  AutoencoderFamily.self,
  DenoisingAutoencoderFamily.self,
  MaskedAutoencoderFamily.self,
  VariationalAutoencoderFamily.self,
  GANFamily.self,
  CycleGANFamily.self,
  Pix2PixFamily.self,
  DiffusionFamily.self,
  ConsistencyFamily.self,
  ClassifierFamily.self,
]

private let addedFamilies = Mutex<[any ModelFamily.Type]>([])

/// Every family that there is: those of Easel, then those that a program has added.
public var modelFamilies: [any ModelFamily.Type] { bundledFamilies + addedFamilies.withLock { $0 } }

/// Adds a family of a program's own, before the program asks for anything. From then on requests and checkpoints find its
/// presets by name.
///
/// A family that is there already is not added again. Another of a name that is taken, or with such a preset, traps.
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

/// What a run trains on what: with the settings, enough to repeat it.
public struct RunDescription: DeclaredFields, Hashable {
  public var preset: String
  /// A data set's name or path.
  public var data: String
  /// The second domain's data; nil for families of one.
  public var dataB: String?
  /// `N` or `W×H`; empty for the data's own size.
  public var imageSize: String
  /// Whether pictures that cannot be read are left out.
  public var skipBroken = false
  /// How images of other proportions come to `imageSize`, and pictures to the model's size.
  public var fit = ImageFit.crop

  public init() { (preset, data, imageSize) = ("", "", "") }

  init(preset: String, data: String, dataB: String?, imageSize: String) {
    (self.preset, self.data, self.dataB, self.imageSize) = (preset, data, dataB, imageSize)
  }

  public static let fields: [Field<RunDescription>] = [
    Field("preset", \.preset, "what the settings began as").fixed,
    Field("data", \.data, "a data set by name or path; empty for Fashion-MNIST").fixed,
    Field("data-b", \.dataB, "the second data set").fixed,
    Field("image-size", \.imageSize, "images are brought to N or WxH; empty for the size that they have").fixed,
    Field("skip-broken", \.skipBroken, "whether pictures that cannot be read are left out").fixed,
    Field(
      "fit", \.fit, "images of other proportions are cropped to their middle, padded with black, or stretched"
    ).fixed,
  ]
}

/// A preset with the type of its settings erased: what the program works with.
public struct AnyPreset: Sendable {
  public let family: any ModelFamily.Type
  public let name: String
  public let summary: String
  public let data: DataDescription
  private let settings: @Sendable (RunDescription) throws -> ConfigurationDocument
  private let build: @Sendable (ConfigurationDocument, ModelContext) throws -> any Model
  private let fitting: @Sendable (DataDescription) -> [(key: String, value: String)]
  private let idleModelSettings: @Sendable (ConfigurationDocument) throws -> [IdleField]
  private let modelSchema: @Sendable (ConfigurationDocument) throws -> [FieldSchema]

  package init<Family: ModelFamily>(_ family: Family.Type, _ preset: Preset<Family.Settings>) {
    self.family = family
    (name, summary, data) = (preset.name, preset.summary, preset.data)
    settings = { run in
      let absent: Set = run.dataB == nil ? [RunDescription.key(\.dataB)] : []
      return try ConfigurationDocument(defaults: run, preset.training, preset.model, leavingOut: absent)
    }
    build = { document, context in
      let settings = try document.decode(Family.Settings.self)
      try settings.validate()
      return try Family.make(settings, context)
    }
    fitting = { Family.settings(preset, for: $0) }
    idleModelSettings = { try $0.decode(Family.Settings.self).idle }
    modelSchema = { try $0.decode(Family.Settings.self).schema }
  }

  /// What is trained on what, the training and the model's settings as one document.
  public func configuration(data: String = "", dataB: String = "", imageSize: String = "") throws
    -> ConfigurationDocument
  {
    try settings(
      RunDescription(
        preset: name, data: data, dataB: family.domains == .one ? nil : dataB, imageSize: imageSize))
  }

  /// Fits the settings to larger images than the preset was made for, unless a person has set one of them.
  ///
  /// - Returns: what was set, for people; nil for nothing.
  /// - Throws: `UserError(.internalFailure)` where a family names a setting that there is not.
  public func fit(_ document: inout ConfigurationDocument, to data: DataDescription) throws -> String? {
    let settings = fitting(data)
    if settings.isEmpty || settings.contains(where: { document.isSet($0.key) }) { return nil }
    for (key, value) in settings { try document.set(key, to: value, origin: .place("for images of this size")) }
    let list = settings.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
    return "For images of \(data.width)×\(data.height): \(list); set one of them to have the preset's others."
  }

  /// Takes the settings that the checkpoint decides which a training goes on from; a family that can begin with nothing has
  /// none.
  ///
  /// - Parameters:
  ///   - document: the settings of the training.
  ///   - source: the checkpoint's settings.
  ///   - preset: what it was trained as.
  ///   - name: the checkpoint's, for messages.
  /// - Throws: `UserError` (usage) for a checkpoint of another family, and where a person has set what the checkpoint decides.
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

  /// The settings of a document that change nothing beside the others.
  func idle(in document: ConfigurationDocument) throws -> [IdleField] {
    try document.decode(TrainingSettings.self).idle + idleModelSettings(document)
  }

  /// What there is to know of every setting of a document, in its order, with the values that it has.
  ///
  /// - Throws: `UserError` (usage) for a value of another type than its setting's.
  public func schema(of document: ConfigurationDocument) throws -> [FieldSchema] {
    let all =
      try document.decode(RunDescription.self).schema + document.decode(TrainingSettings.self).schema
      + modelSchema(document)
    return all.filter { document.keys.contains($0.key) }
  }

  /// A document's settings for a form: what the preset is, every setting by its key, and their order.
  ///
  /// - Throws: as ``schema(of:)`` does.
  public func settingsSchema(of document: ConfigurationDocument) throws -> SettingsSchema {
    let fields = try schema(of: document)
    return SettingsSchema(
      title: name, family: family.name, description: summary, order: fields.map(\.key),
      properties: Dictionary(uniqueKeysWithValues: fields.map { ($0.key, $0) }))
  }

  /// Makes the model that a document describes.
  ///
  /// - Throws: `UserError` (usage) for settings that make no sense.
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

  /// The preset, or the first preset of the family, of a name.
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
  /// The keys in the order in which a form shows them.
  public let order: [String]
  public let properties: [String: FieldSchema]
}
