import EaselRunStorage
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

private struct TrainingSettings: DeclaredFields, Equatable {
  enum Precision: String, FieldChoice { case auto, float32, bfloat16 }

  var batchSize = 128
  var learningRate: Float = 2e-4
  var weightDecay = 1e-5
  var emaDecay: Double?
  var precision = Precision.auto
  var validation: Precision?
  var data = "fashion-mnist"
  var shuffle = true
  var seed: UInt64 = 0

  static let fields: [Field<TrainingSettings>] = [
    Field("batch-size", \.batchSize, .from(1, to: 1024), "images in a step"),
    Field("learning-rate", \.learningRate, ""),
    Field("weight-decay", \.weightDecay, ""), Field("ema-decay", \.emaDecay, ""),
    Field("precision", \.precision, "of activations"), Field("validation", \.validation, ""),
    Field("data", \.data, ""), Field("shuffle", \.shuffle, ""), Field("seed", \.seed, ""),
  ]
}

private struct ModelSettings: DeclaredFields, Equatable {
  var channels = [32, 64, 128]
  var attention: [Bool]?
  var scales: [Float] = [0.5, 1]

  static let fields: [Field<ModelSettings>] = [
    Field("channels", \.channels, ""), Field("attention", \.attention, ""), Field("scales", \.scales, ""),
  ]
}

@Suite struct ConfigurationTests {
  private let scratch: ScratchFolder

  init() throws { scratch = try ScratchFolder() }

  private func document() throws -> ConfigurationDocument {
    try ConfigurationDocument(defaults: TrainingSettings(), ModelSettings())
  }

  private func decoded(_ assignments: String...) throws -> (TrainingSettings, ModelSettings) {
    var document = try document()
    for assignment in assignments { try document.set(assignment) }
    return (try document.decode(TrainingSettings.self), try document.decode(ModelSettings.self))
  }

  @Test func theWholeDocumentIsWrittenInOrder() throws {
    #expect(
      try document().yaml() == """
        batch-size: 128
        learning-rate: 0.0002
        weight-decay: 1.0e-05
        ema-decay: null
        precision: auto
        validation: null
        data: fashion-mnist
        shuffle: true
        seed: 0
        channels: [32, 64, 128]
        attention: null
        scales: [0.5, 1.0]

        """)
    #expect(try document().keys.count == 12)
  }

  @Test func valuesSurviveAFile() throws {
    var training = TrainingSettings()
    training.learningRate = 0.1 + 0.2
    training.weightDecay = 1.0 / 3
    training.emaDecay = 1e300
    training.validation = .bfloat16
    training.seed = .max
    var model = ModelSettings()
    model.attention = [true, false]
    model.channels = []
    model.scales = [.infinity, -0x1p-140]
    for data in ["null", "1:30", "010", "true", "12", "", " a: b # c", "größe\n2", "'\"", "- x", "~", "1e5", "=", "<<"]
    {
      training.data = data
      let path = try scratch.write(try ConfigurationDocument(defaults: training, model).yaml(), to: "config.yaml")
      var document = try document()
      try document.overlay(yamlFile: path)
      #expect(try document.decode(TrainingSettings.self) == training)
      #expect(try document.decode(ModelSettings.self) == model)
    }
  }

  @Test func laterValuesWin() throws {
    let path = try scratch.write(
      """
      # mine
      batch-size: 64      # small
      channels:
        - 8
        - 16
      ema-decay: 0.999
      """, to: "mine.yaml")
    var document = try document()
    try document.overlay(yamlFile: path)
    try document.set("batch-size=32")
    try document.set("seed", to: "7", origin: .field("seed"))
    let training = try document.decode(TrainingSettings.self)
    #expect(training.batchSize == 32)
    #expect(training.emaDecay == 0.999)
    #expect(training.seed == 7)
    #expect(try document.decode(ModelSettings.self).channels == [8, 16])
    try document.overlay(yamlFile: scratch.write("", to: "empty.yaml"))
    try document.overlay(yamlFile: scratch.write("# nothing\n", to: "empty.yaml"))
    #expect(try document.decode(TrainingSettings.self) == training)
  }

  @Test func assignments() throws {
    #expect(try decoded("channels=1,2").1.channels == [1, 2])
    #expect(try decoded("channels=[1, 2]").1.channels == [1, 2])
    #expect(try decoded("channels=5").1.channels == [5])
    #expect(try decoded("channels=[]").1.channels == [])
    #expect(try decoded("attention=true,false").1.attention == [true, false])
    #expect(try decoded("attention=true", "attention=null").1.attention == nil)
    #expect(try decoded("scales=1,1e-3").1.scales == [1, 1e-3])
    #expect(try decoded("ema-decay=0.5").0.emaDecay == 0.5)
    #expect(try decoded("ema-decay=0.5", "ema-decay=null").0.emaDecay == nil)
    #expect(try decoded("precision=bfloat16", "validation=float32").0.validation == .float32)
    #expect(try decoded("data=/a=b/1:30").0.data == "/a=b/1:30")
    #expect(try decoded("data=").0.data == "")
    #expect(try decoded("learning-rate=1e-3").0.learningRate == 1e-3)
  }

  @Test func unknownKeysSuggestTheNearest() throws {
    var document = try document()
    expectUserError(.usage, "set: there is no setting batchsize", "Did you mean batch-size?") {
      try document.set("batchsize=3")
    }
    expectUserError(.usage, "no setting temperature", "Settings: batch-size, learning-rate") {
      try document.set("temperature=3")
    }
    expectUserError(.usage, "expected KEY=VALUE", "batch-size") { try document.set("batch-size") }
    let path = try scratch.write("seed: 1\nlerning-rate: 2\n", to: "c.yaml")
    expectUserError(.usage, "\(path) line 2", "no setting lerning-rate", "Did you mean learning-rate?") {
      try document.overlay(yamlFile: path)
    }
    let merge = try scratch.write("<<: {seed: 1}\n", to: "c.yaml")
    expectUserError(.usage, "no setting <<") { try document.overlay(yamlFile: merge) }
  }

  @Test(arguments: [
    ("batch-size=x", "batch-size: expected a whole number, found \"x\" (set)"),
    ("batch-size=1.5", "batch-size: expected a whole number, found \"1.5\""),
    ("batch-size=99999999999999999999", "batch-size: expected a whole number"),
    ("batch-size=1:1:1:1:1:1:1:1:1:1:1:1:1:1:1", "batch-size: expected a whole number, found \"1:1"),
    ("batch-size=010", "batch-size: expected a whole number, found \"010\""),
    ("batch-size=null", "batch-size: expected a whole number, found null"),
    ("batch-size=", "batch-size: expected a whole number, found \"\""),
    ("batch-size=[1]", "batch-size: expected a single value, found a list"),
    ("batch-size={a: 1}", "batch-size: expected a single value, found a mapping"),
    ("seed=-1", "seed: expected a whole number of 0 or more, found \"-1\""),
    ("learning-rate=fast", "learning-rate: expected a number, found \"fast\""),
    ("ema-decay=x", "ema-decay: expected a number, found \"x\""),
    ("shuffle=2", "shuffle: expected true or false, found \"2\""),
    ("precision=half", "precision: expected one of auto, float32, bfloat16, found \"half\" (set)"),
    ("validation=half", "validation: expected one of auto, float32, bfloat16, found \"half\""),
  ])
  func wrongValues(_ assignment: String, _ message: String) throws {
    var document = try document()
    try document.set(assignment)
    expectUserError(.usage, message) { try document.decode(TrainingSettings.self) }
    // It ignores the other struct's values.
    _ = try document.decode(ModelSettings.self)
  }

  @Test(arguments: [
    ("channels=1,x,3", "channels[1]: expected a whole number, found \"x\" (set)"),
    ("channels=", "channels: expected a list, found \"\""),
    ("channels={a: 1}", "channels[0]: expected a single value, found a mapping"),
    ("attention=maybe", "attention[0]: expected true or false, found \"maybe\""),
  ])
  func wrongNestedValues(_ assignment: String, _ message: String) throws {
    var document = try document()
    try document.set(assignment)
    expectUserError(.usage, message) { try document.decode(ModelSettings.self) }
  }

  @Test func wrongValuesInFilesNameTheLine() throws {
    var document = try document()
    let path = try scratch.write("seed: 1\n\nbatch-size: x\n", to: "file.yaml")
    try document.overlay(yamlFile: path)
    expectUserError(.usage, "batch-size: expected a whole number, found \"x\" (\(path) line 3)") {
      try document.decode(TrainingSettings.self)
    }
  }

  /// Aliases of aliases; the last one stands for 2⁴⁰ numbers and is a key.
  private static let nestedAliases =
    "a0: &a0 [1,1]\n" + (1..<40).map { "a\($0): &a\($0) [*a\($0 - 1),*a\($0 - 1)]\n" }.joined() + "b: {*a39 : 1}\n"

  @Test(arguments: [
    ("seed: 1\nseed: 2\n", ["seed is given more than once", " line "]),
    ("data: {kind: a, kind: b}\n", ["kind is given more than once"]),
    ("seed: &a 1\nbatch-size: *a\n", [" line 1", "anchor &a"]),
    ("channels: [1, &a 2]\n", ["anchor &a"]),
    (nestedAliases, ["anchors", "79 aliases"]),
    (String(repeating: "# a comment\n", count: 6000), ["at most 65536 bytes, found 72000"]),
    ("seed: *a\n", [" line 1", "undefined alias"]),
    ("seed: [1\n", ["c.yaml line "]),
    ("seed: 1\n---\nseed: 2\n", ["another document"]),
    ("- 1\n", ["expected `key: value` lines, found a list"]),
    ("text", ["found \"text\""]),
    ("a: \u{1}\n", ["c.yaml"]),
    ("a: {\(String(repeating: "[", count: 100_000))", ["c.yaml"]),
  ])
  func otherYAMLIsRefused(_ text: String, _ parts: [String]) throws {
    var document = try document()
    let path = try scratch.write(text, to: "c.yaml")
    do {
      try document.overlay(yamlFile: path)
      Issue.record("was accepted")
    } catch let error as UserError {
      #expect(error.kind == .badData, "\(error)")
      for part in [path] + parts { #expect(error.description.contains(part), "\(error) lacks \(part)") }
    }
  }

  @Test func unreadableFiles() throws {
    var document = try document()
    expectUserError(.missingInput, "none.yaml") { try document.overlay(yamlFile: scratch.file("none.yaml")) }
    let path = try scratch.write(Data([0x61, 0x3a, 0x20, 0xff]), to: "latin.yaml")
    expectUserError(.badData, path, "UTF-8") { try document.overlay(yamlFile: path) }
    expectUserError(.usage, "set channels: did not find expected") { try document.set("channels=[1") }
  }

  @Test func keysDoNotCollide() {
    expectUserError(.internalFailure, "batch-size is declared twice") {
      try ConfigurationDocument(defaults: TrainingSettings(), ModelSettings(), TrainingSettings())
    }
  }
}
