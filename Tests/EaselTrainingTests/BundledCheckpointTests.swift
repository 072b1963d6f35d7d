import EaselSupport
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

/// The package's bundled checkpoints: each one loads and reveals nothing about a machine.
@Suite struct BundledCheckpointTests {
  private static let catalog = CheckpointCatalog(roots: ["\(packageFolder)/Checkpoints"])
  private static let names = (try? catalog.runs().map(\.name)) ?? []

  @Test func allAreThere() { #expect(Self.names.count >= 9) }

  @Test(arguments: names) func loads(_ name: String) throws {
    try onTensors { backend in
      let (checkpoint, damaged) = try Self.catalog.resolve(name)
      let loaded = try LoadedModel(checkpoint, backend: backend, precision: .float32)
      try #require(damaged.isEmpty && loaded.model.components.contains { $0.arena.count > 0 })
      try #require(loaded.modelHash == checkpoint.modelHash && checkpoint.isMeant(by: loaded.modelHash))
      try #require(checkpoint.isMeant(by: checkpoint.hash))
      for file in ["state.json", "config.yaml"] {
        let text = try String(contentsOfFile: checkpoint.path(of: file), encoding: .utf8)
        try #require(text.firstMatch(of: /["= ]\/[A-Za-z]/) == nil && !text.contains(".."))
      }
    }
  }

  @Test func theMendedOneIsFoundByTheHashThatPicturesName() throws {
    let found = try Self.catalog.find {
      $0.isMeant(by: "d9964151b3bc5e1be993e7c4b602b399a051fd7d12ec4881e3e1c39ce823b9d7")
    }
    #expect(found?.path.contains("/cyclegan/") == true)
  }
}

@Suite struct FormatTests {
  @Test(
    "A checkpoint of a newer format is refused by its number; one without a number is of the first",
    arguments: [(nil, true), (1, true), (0, false), (2, false)])
  func formats(_ format: Int?, _ isRead: Bool) throws {
    let (bundled, _) = try CheckpointCatalog(roots: ["\(packageFolder)/Checkpoints"]).resolve("vae")
    let text = try String(contentsOfFile: bundled.path(of: "state.json"), encoding: .utf8)
    let entry = format.map { "\n  \"format\": \($0)," } ?? ""
    try withScratchFolder { folder in
      let checkpoint = try RunFolder(workspace: folder, name: "r").commit(step: bundled.step, keep: 1) {
        try ("{" + entry + text.dropFirst()).write(toFile: "\($0)/state.json", atomically: false, encoding: .utf8)
      }
      if isRead {
        #expect(try CheckpointSummary.state(of: checkpoint).step == bundled.step)
      } else {
        let error = #expect(throws: UserError.self) { try CheckpointSummary.state(of: checkpoint) }
        #expect(error?.message.contains("format: expected 1 to 1, found \(format ?? -1)") == true)
      }
    }
  }
}

@Suite struct HandedOnTests {
  @Test func pathsLeadOutOfNoWorkspace() throws {
    try withScratchFolder { folder in
      let handedOn = HandedOn(workspace: folder)
      #expect(handedOn.path("\(folder)/Data/a b") == "Data/a b")
      #expect(handedOn.path("/home/somebody/photos") == "photos")
      #expect(handedOn.path("../photos") == "photos" && handedOn.path("~/photos") == "photos")
      #expect(handedOn.path("emoji-styles/noto") == "emoji-styles/noto")
      let words = [
        "easel", "train", "--data", "\(folder)/Data/a b", "--set", "data=/x/y", "--from=/x/z's", "--seed", "1",
      ]
      #expect(
        handedOn.command(words) == #"easel train --data 'Data/a b' --set data=y '--from=z'\''s' --seed 1"#)
    }
  }
}
