import EaselSupport
import Foundation

/// A request: a struct of declared fields that travels as JSON, and the function that answers it.
///
/// A verb of the program is a request read from a command line. A page, or a program of your own, makes it in another
/// way:
///
///     let bench = try Workbench("path/to/workspace")
///     let answer = try bench.run(SampleRequest { $0.source.checkpoint = "vae"; $0.count = 16 })
///     try answer.grid.write(to: "samples.png", text: answer.recipe.text)
public protocol Request: DeclaredFields {
  associatedtype Answer
  /// The name in recipes, messages and the program's command line, such as `sample`.
  static var name: String { get }
  /// What the request does, in a few words.
  static var summary: String { get }
  /// Fields that say where things are on this machine; a recipe leaves them out.
  static var local: [String] { get }
  /// Whether the request applies to a model; false if it is not about one.
  static func isOffered(by model: any Model) -> Bool
  func answer(_ work: Work) throws -> Answer
}

extension Request {
  public static var local: [String] { CheckpointChoice.fields.map(\.key) }
  public static func isOffered(by model: any Model) -> Bool { false }

  /// A request from JSON: an object with some of its fields. The others keep their defaults.
  ///
  /// - Throws: `UserError` (usage) for an unknown field, with the nearest one, and for a value of another type or out
  ///   of bounds; bad data for anything but a JSON object of fields.
  public init(json: Data) throws {
    let fields: [String: FieldContent]
    do {
      fields = try JSONDecoder().decode([String: FieldContent].self, from: json)
    } catch {
      throw UserError(.badData, "\(Self.name): expected a JSON object of fields: \(error.reason)")
    }
    try self.init(fields: fields)
    try validate(FieldCheck(namingFields: true))
  }

  init(fields: [String: FieldContent]) throws {
    var document = try ConfigurationDocument(defaults: Self())
    for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
      try document.set(key, to: value, origin: .place("the \(Self.name) request"))
    }
    self = try document.decode(Self.self)
  }

  /// The fields that differ from their defaults.
  var given: [(key: String, value: FieldContent)] {
    let defaults = Self()
    return Self.fields.compactMap { field in
      let value = field.content(of: self)
      return value == field.content(of: defaults) ? nil : (field.key, value)
    }
  }
}

/// Answers requests: a workspace, and an observer of the work.
public struct Workbench {
  public let workspace: Workspace
  public var observer = Observer()

  /// - Parameters:
  ///   - path: the folder with `Data/`, `Checkpoints/` and `Samples/`; nil for the current one.
  ///   - observer: receives remarks and progress.
  /// - Throws: `UserError` (missing input) if there is no such folder.
  public init(_ path: String? = nil, observer: Observer = Observer()) throws {
    workspace = try Workspace(path)
    self.observer = observer
  }

  /// Answers a request.
  ///
  /// - Throws: `UserError` if something is wrong with the request or with the files that it names; ``Cancelled``.
  public func run<Asked: Request>(_ request: Asked) throws -> Asked.Answer {
    try request.validate(FieldCheck(namingFields: true))
    return try request.answer(Work(workspace, observer))
  }

  /// Prepares a training and returns it, ready to run.
  ///
  /// - Throws: `UserError`.
  public func begin(_ request: TrainRequest) throws -> TrainingSession {
    try request.validate(FieldCheck(namingFields: true))
    return try request.session(Work(workspace, observer))
  }

  /// Prepares to continue a run.
  ///
  /// - Throws: `UserError`.
  public func begin(_ request: ResumeRequest) throws -> TrainingSession {
    try request.validate(FieldCheck(namingFields: true))
    return try request.session(Work(workspace, observer))
  }

  /// The settings that a request to train comes to, before any data are read.
  ///
  /// - Throws: `UserError` (usage) for settings that make no sense or change nothing.
  public func configuration(
    of request: TrainRequest
  ) throws -> (preset: AnyPreset, configuration: ConfigurationDocument) {
    try request.validate(FieldCheck(namingFields: true))
    return try request.configuration(Work(workspace, observer))
  }

  /// The request that made a picture, with the checkpoint that made it.
  ///
  /// - Parameters:
  ///   - type: the kind of request.
  ///   - picture: a PNG file with a recipe.
  ///   - change: changes what differs from the recipe, such as where the files of its images are.
  /// - Throws: `UserError`; bad data if the picture has no recipe of such a request, or if another checkpoint is named
  ///   than made it.
  public func request<Asked: RecordedRequest>(
    _ type: Asked.Type = Asked.self, from picture: String, _ change: (inout Asked) throws -> Void = { _ in }
  ) throws -> Asked {
    let recipe = try RecordedRecipe(picture)
    var request = try recipe.request(type)
    try change(&request)
    try request.find(recipe, in: workspace)
    return request
  }
}

/// A request to a model from a checkpoint.
public protocol ModelRequest: Request {
  /// What the model must be able to do, such as `any Sampling`.
  associatedtype Capability
  var source: CheckpointChoice { get set }
  /// Refuses what the model does not support, without computing anything.
  ///
  /// - Throws: `UserError` (usage).
  func validate(for model: Capability) throws
  func answer(_ job: Job<Capability>) throws -> Answer
}

extension ModelRequest {
  public func validate(for model: Capability) throws {}
  public static func isOffered(by model: any Model) -> Bool { model is Capability }

  public func answer(_ work: Work) throws -> Answer {
    let loaded = try source.load(work)
    guard let model = loaded.model as? Capability else {
      throw loaded.refusal("cannot \(Self.name)")
    }
    try validate(for: model)
    return try work.computing(with: loaded.model) { try answer(Job(work: work, loaded: loaded, model: model)) }
  }
}

/// A request to a model while it is answered.
public struct Job<Capability> {
  public let work: Work
  public let loaded: LoadedModel
  public let model: Capability
  var context: ModelContext { loaded.model.context }
  var data: DataDescription { loaded.model.context.data }
}

/// A request that is recorded in the pictures that answer it, and can be read back from them.
public protocol RecordedRequest: Request {
  /// Reads the recipe of a picture that an earlier version made.
  ///
  /// - Throws: `UserError` (bad data) if that version recorded too little.
  init(settings: [String: String], of picture: String) throws
  /// Finds the checkpoint that made a picture, if there is one.
  mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws
}

extension RecordedRequest {
  public init(settings: [String: String], of picture: String) throws {
    throw UserError(
      .badData, "\(picture): \(settings["version"] ?? "an earlier easel") made it and did not note all of the request",
      hint: "What it did note: easel inspect \(picture)")
  }
}

/// A request for a picture from a model.
public protocol PictureRequest: ModelRequest, RecordedRequest where Answer == PictureAnswer {}

extension PictureRequest {
  public mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws {
    try source.find(recipe, in: workspace)
  }
}
