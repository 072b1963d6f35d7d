import EaselRunStorage
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct MetricsLogTests {
  private let scratch: ScratchFolder
  private let path: String

  init() throws {
    scratch = try ScratchFolder()
    path = scratch.file("metrics.jsonl")
  }

  @Test func linesAreJSONWithTheStepFirst() throws {
    let log = try MetricsLog(path: path)
    try log.append(step: 1, ["loss": 0.5, "a \"b\"": .nan])
    try log.append(step: 2, ["loss": 1e-9, "grad": -.infinity])
    try log.sync()
    let text = String(decoding: try contents(path), as: UTF8.self)
    #expect(
      text == """
        {"step": 1, "a \\"b\\"": null, "loss": 0.5}
        {"step": 2, "grad": null, "loss": 1e-09}

        """)
    #expect(try MetricsLog.records(at: path).map(\.step) == [1, 2])
    #expect(try MetricsLog.records(at: path)[0].values == ["loss": 0.5, "a \"b\"": nil])
    #expect(try MetricsLog.lastRecord(at: path)?.values == ["loss": 1e-9, "grad": nil])
  }

  @Test func resumingDropsLaterLines() throws {
    do {
      let log = try MetricsLog(path: path)
      for step in stride(from: 10, through: 100, by: 10) { try log.append(step: step, ["loss": Double(step)]) }
    }
    let before = try contents(path)
    try MetricsLog.truncate(path, after: 100)
    #expect(try contents(path) == before)
    try MetricsLog.truncate(path, after: 45)
    #expect(try contents(path) == before.prefix(4 * "{\"step\": 10, \"loss\": 10.0}\n".utf8.count))
    try MetricsLog(path: path).append(step: 50, ["loss": 5])
    #expect(try MetricsLog.records(at: path).map(\.step) == [10, 20, 30, 40, 50])
    try MetricsLog.truncate(path, after: 0)
    #expect(try MetricsLog.records(at: path) == [])
    #expect(try MetricsLog.lastRecord(at: path) == nil)
    #expect(try names(in: scratch.path) == ["metrics.jsonl"])
  }

  @Test func aTornLastLineIsIgnoredAndCutOff() throws {
    try scratch.write("{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"lo", to: "metrics.jsonl")
    #expect(try MetricsLog.records(at: path).map(\.step) == [1])
    #expect(try MetricsLog.lastRecord(at: path)?.step == 1)
    try MetricsLog(path: path).append(step: 3, [:])
    #expect(try MetricsLog.records(at: path).map(\.step) == [1, 3])
    try scratch.write("{\"step\":", to: "metrics.jsonl")
    _ = try MetricsLog(path: path)
    #expect(try contents(path).isEmpty)
  }

  @Test func theLastLineIsFoundWhateverItsLength() throws {
    let log = try MetricsLog(path: path)
    try log.append(step: 1, ["a": 1])
    for length in [1, 4000, 4090, 5000, 20_000] {
      try log.append(step: length, [String(repeating: "n", count: length): 1])
      #expect(try MetricsLog.lastRecord(at: path)?.step == length)
    }
  }

  @Test(arguments: ["", "[]", "{\"loss\": 1}", "{\"step\": 1.5}", "{\"step\": 1, \"a\": \"x\"}", "{\"step\": null}"])
  func otherLinesAreRefused(_ line: String) throws {
    try scratch.write("{\"step\": 1}\n\(line)\n", to: "metrics.jsonl")
    expectUserError(.badData, "\(path) line 2", "step") { try MetricsLog.records(at: path) }
    expectUserError(.badData, path, "last line") { try MetricsLog.lastRecord(at: path) }
  }

  @Test func damagedLinesAreSetAsideAndNotLost() throws {
    let whole = "{\"step\": 1}\n{\"step\": 2}\n"
    try scratch.write(
      Data("{\"step\": 1}\n\u{0}\u{0}\n{\"step\": 2}\n{\"ste\n{\"step\": 3}\n".utf8), to: "metrics.jsonl")
    try MetricsLog.truncate(path, after: 2)
    #expect(try contents(path) == Data(whole.utf8))
    #expect(try contents(path + ".damaged") == Data("\u{0}\u{0}\n{\"ste\n".utf8))
    try scratch.write(whole + "x\n", to: "metrics.jsonl")
    #expect(try MetricsLog.setAsideDamage(path) == [3])
    #expect(try contents(path) == Data(whole.utf8))
    #expect(try contents(path + ".damaged") == Data("\u{0}\u{0}\n{\"ste\nx\n".utf8))
    #expect(try MetricsLog.setAsideDamage(path) == [])
  }

  @Test func aLineWithoutEndIsNotReadForever() throws {
    try scratch.write(Data(count: 3 << 20), to: "metrics.jsonl")
    expectUserError(.badData, path, "longer") { try MetricsLog.lastRecord(at: path) }
  }

  @Test func missingLogs() throws {
    #expect(try MetricsLog.records(at: path) == [])
    #expect(try MetricsLog.lastRecord(at: path) == nil)
    try MetricsLog.truncate(path, after: 3)
    expectUserError(.cannotCreate, "/none/metrics.jsonl") { try MetricsLog(path: scratch.file("none/metrics.jsonl")) }
  }
}
