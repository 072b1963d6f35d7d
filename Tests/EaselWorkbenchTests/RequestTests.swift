import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// A value of a field that is not its default, as JSON.
private func example(_ schema: FieldSchema) -> FieldContent? {
  func example(_ type: FieldType) -> FieldContent? {
    switch type {
    case .flag: .flag(schema.value != .flag(true))
    case .integer: .number(String(Int(schema.bounds?.minimum ?? 2) + 3))
    case .number: .number(String((schema.bounds?.minimum ?? 0) + 0.25))
    case .text: .text("a text")
    case .choice(let words): words.last.map { .text($0) }
    case .list(let element): example(element).map { .list([$0, $0]) }
    case .optional(let wrapped): example(wrapped)
    }
  }
  return schema.key == "channels" ? .number("3") : example(schema.type)
}

@Suite struct RequestTests {
  private static let prompts = FieldContent.list([.text("p"), .text("q")])
  /// The other fields that some fields need, in any request or in one, and requests that are empty by default.
  private static let companions: [String: [String: FieldContent]] = [
    "evaluate": ["checkpoint": .text("c")], "resume": ["run": .text("r")], "labels": ["array": .text("a.npy")],
    "probe-images": ["probe": .flag(true)], "search": ["prompt": .text("p")],
    "plot": ["run": .list([.text("r")])],
    "evaluate.clip": ["captions": .flag(true)], "sample.clip": ["best-of": .number("4"), "prompt": prompts],
    "sample.best-of": ["clip": .text("c"), "prompt": prompts], "interpolate.like": ["along": .text("conditions")],
    "evaluate.clip-model": ["clip": .text("c"), "captions": .flag(true)],
    "sample.clip-model": ["clip": .text("c"), "best-of": .number("4"), "prompt": prompts],
    "search.image-sha256": ["image": .text("i.png")], "interpolate.along": ["prompt": prompts],
  ]

  /// The request as JSON.
  private func fields(_ request: some Request) throws -> [String: FieldContent] {
    try JSONDecoder().decode([String: FieldContent].self, from: JSONEncoder().encode(request))
  }

  private func walk<Asked: Request>(_ type: Asked.Type) throws -> Int {
    var count = 0
    let usual = Self.companions[Asked.name] ?? [:]
    for schema in Asked().schema {
      var asked = usual
      for name in [schema.key, "\(Asked.name).\(schema.key)"] {
        for (key, value) in Self.companions[name] ?? [:] { asked[key] = value }
      }
      guard let value = example(schema) else { return count }
      asked[schema.key] = value
      // Images from elsewhere are judged instead of a checkpoint's.
      if Asked.name == "evaluate", asked["array"] != nil || asked["images"] != nil { asked["checkpoint"] = nil }
      // A picture is searched for instead of a text.
      if Asked.name == "search", asked["image"] != nil { asked["prompt"] = nil }
      let request = try Asked(json: JSONEncoder().encode(asked))
      #expect(try fields(request)[schema.key] == asked[schema.key], "\(Asked.name) \(schema.key)")
      #expect(try fields(Asked(json: JSONEncoder().encode(request))) == fields(request))
      count += 1
    }
    guard let first = Asked().schema.first?.key else { return count }
    expectUserError(.usage, "the \(Asked.name) request: there is no setting \(first)x", "Did you mean \(first)?") {
      try Asked(json: JSONEncoder().encode([first + "x": 1]))
    }
    expectUserError(.badData, "\(Asked.name): expected a JSON object") { try Asked(json: Data("[1]".utf8)) }
    return count
  }

  @Test("Every request can be sent as JSON, field by field, and refuses an unknown field with the nearest one")
  func travel() throws {
    #expect(requestTypes.count == 25 && Set(requestTypes.map { $0.name }).count == requestTypes.count)
    let counts = try requestTypes.map { type in try walk(type) }
    #expect(counts.reduce(0, +) > 150)
  }

  @Test("A value of another type or out of bounds is refused by its field's name")
  func wrongValues() {
    for (json, message) in [
      (#"{"count": "many"}"#, "count: expected a whole number, found \"many\""),
      (#"{"count": 0}"#, "count: expected 1 to 100000, found 0"),
      (#"{"steps": 1.5}"#, "steps: expected a whole number"),
      (#"{"weights": "best"}"#, "weights: expected one of ema, raw, found \"best\""),
      (#"{"eta": 2}"#, "eta: expected 0 to 1, found 2"), (#"{"animate": "maybe"}"#, "animate: expected true or false"),
    ] {
      expectUserError(.usage, message) { try SampleRequest(json: Data(json.utf8)) }
    }
    // A form may send null for an empty field.
    #expect(
      (try? SampleRequest(json: Data(#"{"count": null, "seed": 18446744073709551615}"#.utf8)))?.sampling.seed == .max)
  }

  @Test("Messages name fields, which the program calls options")
  func names() {
    let error = UserError(.usage, "\(String(field: "count")): none", hint: "Leave out \(String(field: "data")).")
    #expect(error.message == "count: none" && error.description == "count: none\nLeave out data.")
    #expect(error.named("--").description == "--count: none\nLeave out --data.")
  }

  @Test("Each family lists the requests that its model can answer")
  func offers() throws {
    let all: Set = ["sample", "interpolate", "reconstruct", "denoise", "inpaint", "translate", "evaluate"]
    let expected: [String: Set<String>] = [
      "autoencoder": ["reconstruct", "interpolate", "evaluate"],
      "autoencoder-kl": ["reconstruct", "interpolate", "evaluate"],
      "denoising-autoencoder": ["reconstruct", "interpolate", "denoise", "evaluate"],
      "masked-autoencoder": ["inpaint", "evaluate"],
      "vae": ["sample", "reconstruct", "interpolate", "evaluate"], "gan": ["sample", "interpolate", "evaluate"],
      "cyclegan": ["translate"], "pix2pix": ["translate"], "diffusion": all, "consistency": all,
      "classifier": ["evaluate", "attack"], "clip": ["search", "evaluate"], "prior": ["search", "evaluate"],
    ]
    #expect(Set(expected.keys) == Set(bundledFamilies.map { $0.name }))
    for (family, requests) in expected {
      let offered = try onTensors { backend in
        func model(_ family: String, _ parts: [String: any Model] = [:]) throws -> any Model {
          let preset = try AnyPreset.named(family)
          let configuration = try preset.configuration()
          let context = ModelContext(
            backend: backend, type: .float32, seed: 0, data: preset.data, parts: parts,
            vocabulary: try preset.vocabulary(configuration, captions: [["a caption"]], parts: parts))
          return try preset.makeModel(configuration, context)
        }
        // It is nothing without its part.
        let parts = family == "prior" ? ["clip": try model("clip")] : [:]
        return try model(family, parts).requests.map { $0.name }
      }
      #expect(Set(offered) == requests, "\(family)")
    }
  }

  @Test(
    "Library code knows no options", arguments: ["EaselWorkbench", "EaselTraining", "EaselModels", "EaselDatasets"])
  func noOptions(module: String) throws {
    let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Sources/\(module)")
    let files = try #require(FileManager.default.enumerator(atPath: sources.path)).compactMap { $0 as? String }
    for file in files where file.hasSuffix(".swift") {
      let text = try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8)
      for line in text.split(separator: "\n") where !line.contains("//") {
        #expect(line.firstMatch(of: /["\s(]--[a-z]/) == nil, "\(file): \(line)")
      }
    }
  }
}
