import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// Where results are written: names of any kind, full disks, and names for another format.
@Suite(.serialized) struct OutputCommandTests {
  private func program() throws -> Program {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "r", steps: 1)
    return program
  }

  @Test("A name of one letter without a folder works like any other")
  func shortNames() throws {
    let program = try program()
    for (arguments, names) in [
      (
        ["sample", "r", "--count", "1", "--steps", "1", "--output", "x", "--array", "a", "--animate", "m"],
        ["x", "a", "m"]
      ),
      (["sample", "r", "--count", "1", "--steps", "1", "--output", "y", "--individual", "i"], ["y", "i/00000.png"]),
      (["interpolate", "r", "--frames", "2", "--rows", "1", "--output", "é", "--animate", "ж"], ["é", "ж"]),
      (["data", "grid", "images", "--output", "g"], ["g"]),
      (["data", "pack", "images", "--output", "p"], ["p/sheet.json"]),
      (["data", "info", "p"], []), (["data", "grid", "./p/", "--output", "./h"], ["h"]),
      (["export", "r", "--output", "e"], ["e/step-00000001"]),
    ] as [([String], [String])] {
      let result = try program.run(arguments)
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      #expect(program.contents.isSuperset(of: names), "\(arguments)")
    }
  }

  @Test("If an output cannot be written, the existing file stays and no other remains")
  func failingWrites() throws {
    let program = try program()
    let folder = try ScratchFolder()
    let library = try compiledHarness("faults.c", "-shared", "-fPIC", "-ldl", in: folder)
    let files = ["grid.png", "film.png", "array.npy", "each/00000.png", "walk.png", "walks.png", "data.png"]
    let out = program.path("out")
    let commands = [
      [
        "sample", "r", "--count", "1", "--steps", "1", "--seed", "7", "--output", "\(out)/grid.png", "--animate",
        "\(out)/film.png", "--array", "\(out)/array.npy", "--individual", "\(out)/each",
      ],
      [
        "interpolate", "r", "--frames", "2", "--rows", "1", "--output", "\(out)/walks.png", "--animate",
        "\(out)/walk.png",
      ], ["data", "grid", "images", "--output", "\(out)/data.png"],
    ]
    func old(_ name: String) -> Data { Data("what \(name) was".utf8) }
    func run(_ command: [String], failing call: Int, error: Int32 = 0, log: String = "") throws -> Program.Result {
      try? FileManager.default.removeItem(atPath: program.path("out"))
      try FileManager.default.createDirectory(atPath: program.path("out/each"), withIntermediateDirectories: true)
      for name in files { try old(name).write(to: URL(fileURLWithPath: program.path("out/\(name)"))) }
      return try program.run(
        command,
        environment: [
          "LD_PRELOAD": library, "EASEL_FAULT_BELOW": out, "EASEL_FAULT_AT": String(call),
          "EASEL_FAULT_ERROR": String(error), "EASEL_FAULT_STAYS": "1", "EASEL_FAULT_LOG": log,
        ])
    }
    for (number, command) in commands.enumerated() {
      let log = folder.file("calls-\(number)")
      let whole = try run(command, failing: 0, log: log)
      #expect(whole.status == 0, "\(whole.errors)")
      let calls = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
      let written = try files.map { try program.bytes("out/\($0)") }
      let new = Set(files.indices.filter { written[$0] != old(files[$0]) })
      // Each is opened, written and renamed.
      #expect(calls.count >= 3 * new.count && !new.isEmpty, "\(calls)")
      for call in 1...calls.count {
        let error = call.isMultiple(of: 2) ? ENOSPC : EDQUOT
        let result = try run(command, failing: call, error: error)
        let place: Comment = "call \(call), \(calls[call - 1]): \(result.status), \(result.errors)"
        #expect([73, 74].contains(result.status) && result.errors.contains(String(cString: strerror(error))), place)
        let left = program.contents.filter { $0.hasPrefix("out/") && $0 != "out/each" }
        #expect(left == Set(files.map { "out/\($0)" }), place)
        for (index, name) in files.enumerated() {
          let bytes = try program.bytes("out/\(name)")
          #expect(bytes == old(name) || bytes == written[index], "\(name), \(place)")
        }
      }
    }
  }

  @Test(
    "A full disk leaves every existing file complete", .enabled(if: Disk.canBeMade, "needs root"))
  func fullDisk() throws {
    let program = try program()
    let disk = try Disk(program.path("disk"), kilobytes: 256)
    defer { withExtendedLifetime(program) { disk.unmount() } }
    let old = Data("what was there".utf8)
    let outputs = ["--output": "disk/a.png", "--array": "disk/a.npy", "--animate": "disk/film.png"]
    for path in outputs.values { try old.write(to: URL(fileURLWithPath: program.path(path))) }
    disk.fill()
    for (option, path) in outputs {
      let other = option == "--output" ? [] : ["--output", "here.png"]
      let result = try program.run(["sample", "r", "--count", "32", "--steps", "1", option, path] + other)
      #expect(
        [73, 74].contains(result.status) && result.errors.contains("No space left"), "\(option): \(result.errors)")
      #expect(try program.bytes(path) == old)
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: program.path("disk"))
    #expect(Set(names) == ["a.png", "a.npy", "film.png", "filler"])
  }

  @Test("A name for another format is refused before anything is made, with a suggestion")
  func otherFormats() throws {
    let program = try program()
    let before = program.contents
    for (arguments, name) in [
      (["sample", "r", "--output", "new/out.jpg"], "--output new/out.png"),
      (["sample", "r", "--animate", "film.gif"], "--animate film.png"),
      (["sample", "r", "--animate", "film.mp4"], "--animate film.png"),
      (["sample", "r", "--array", "a.npz"], "--array a.npy"), (["sample", "r", "--array", "a.png"], "--array a.npy"),
      (["sample", "r", "--individual", "each.png"], "--individual each"),
      (["interpolate", "r", "--output", "walk.webp"], "--output walk.png"),
      (["reconstruct", "r", "--output", "a.tiff"], "--output a.png"),
      (["data", "grid", "images", "--output", "a.JPEG"], "--output a.png"),
      (["data", "pack", "images", "--output", "a.png"], "--output a"),
      (["export", "r", "--output", "e.zip"], "--output e"),
    ] {
      let result = try program.run(arguments)
      #expect(result.status == 64 && result.errors.contains("Write \(name)\n"), "\(arguments): \(result.errors)")
    }
    #expect(program.contents == before)
    // An ending that is not a format is part of the name.
    let result = try program.run(
      "sample", "r", "--count", "1", "--steps", "1", "--output", "run.v2", "--animate", "m.apng")
    #expect(result.status == 0 && program.contents.isSuperset(of: ["run.v2", "m.apng"]), "\(result.errors)")
  }
}
