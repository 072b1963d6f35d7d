import EaselSupport
import EaselTestSupport
import EaselText
import Foundation
import Testing

@Suite struct VocabularyTests {
  private func vocabulary() throws -> Vocabulary {
    let captions = ["a red circle", "a blue square, large", "ein größerer Kreis"]
    return Vocabulary(of: captions, try BytePairTokenizer(training: captions, size: 520))
  }

  @Test("Words that were never seen are named once each, with what a text has no room for")
  func remarks() throws {
    let vocabulary = try vocabulary()
    #expect(vocabulary.remark(on: "A RED square!", length: 32) == nil)
    #expect(vocabulary.remark(on: "", length: 2) == nil)
    #expect(
      vocabulary.remark(on: "a green circle, green", length: 64)
        == #""a green circle, green": the model was not trained with "green"."#)
    let cut = try #require(vocabulary.remark(on: "a a a a a", length: 4))
    #expect(cut == #""a a a a a": there is only room for "a a"."#)
    #expect(Vocabulary(vocabulary.tokenizer).remark(on: "a green circle", length: 64) == nil)
    let long = try #require(vocabulary.remark(on: String(repeating: "x", count: 5000), length: 64))
    #expect(long.hasPrefix("\"xxx") && long.contains("…\": "))
  }

  @Test("What was written is read, words of other programs' tokenizers are not known, and a training's words are added")
  func files() throws {
    let folder = try ScratchFolder()
    let written = try vocabulary()
    try written.write(to: folder.path)
    let read = try Vocabulary(folder: folder.path)
    #expect(read.words == ["a", "red", "circle", "blue", "square", ",", "large", "ein", "größerer", "kreis"])
    #expect(read.tokenizer.tokens == written.tokenizer.tokens)
    #expect(Set(Vocabulary.files) == Set(try FileManager.default.contentsOfDirectory(atPath: folder.path)))
    let more = Vocabulary(of: ["a star"], written.tokenizer)
    #expect(read.adding(wordsOf: more).words?.subtracting(read.words ?? []) == ["star"])
    try FileManager.default.removeItem(atPath: folder.file(Vocabulary.wordsFile))
    #expect(try Vocabulary(folder: folder.path).words == nil)
    try Data([0x61, 0xff]).write(to: URL(fileURLWithPath: folder.file(Vocabulary.wordsFile)))
    expectUserError(.badData, Vocabulary.wordsFile, "UTF-8") { _ = try Vocabulary(folder: folder.path) }
  }
}
