import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Testing

@Suite struct ShapesTests {
  private static let circle = ColoredShape(.small, .red, .circle)
  private static let square = ColoredShape(.large, .blue, .square)

  @Test("A scene is worded in several ways, of which the inverse relation is one")
  func captions() {
    #expect(
      ShapeScene.above(Self.circle, Self.square).captions == [
        "a small red circle above a large blue square", "a large blue square below a small red circle",
        "a red circle above a blue square", "a blue square below a red circle",
      ])
    #expect(
      ShapeScene.beside(Self.square, Self.circle).captions[1]
        == "a small red circle to the right of a large blue square")
    #expect(
      ShapeScene.one(Self.circle, .topLeft).captions == [
        "a small red circle at the top left", "at the top left, a small red circle", "a red circle at the top left",
        "at the top left, a red circle",
      ])
  }

  @Test("Combinations are held out whole, a tenth of them, for every seed, and each shape occurs in training")
  func split() {
    let (first, second) = (Shapes.splits(count: 4000, side: 16, seed: 1), Shapes.splits(count: 4000, side: 16, seed: 2))
    func combinations(_ part: ImageDataset) -> Set<String> {
      Set((part.annotations.captions ?? []).map { $0.sorted { ($0.count, $0) < ($1.count, $1) }[0] })
    }
    let (training, heldOut) = (combinations(first.train), combinations(first.validation))
    #expect(training.isDisjoint(with: combinations(second.validation)))
    #expect(heldOut.isDisjoint(with: combinations(second.train)))
    #expect((300...500).contains(first.validation.count) && first.train.count + first.validation.count == 4000)
    for color in ColoredShape.Color.allCases {
      for form in ColoredShape.Form.allCases {
        #expect(training.contains { $0.contains("\(color) \(form)") }, "\(color) \(form)")
      }
    }
    #expect(first.train.fingerprint != second.train.fingerprint)
    #expect(first.train.fingerprint == Shapes.splits(count: 4000, side: 16, seed: 1).train.fingerprint)
  }

  @Test("The checker reads every picture as its captions say", arguments: [24, 32, 64])
  func readsAll(_ side: Int) {
    let splits = Shapes.splits(count: 1500, side: side, seed: 3)
    #expect(Shapes.readable(splits.train) == splits.train.count)
    #expect(Shapes.readable(splits.validation) == splits.validation.count)
  }

  @Test("The checker sees through noise, and a caption of another picture is not read in it")
  func noise() throws {
    let splits = Shapes.splits(count: 400, side: 32, seed: 4)
    var random = StreamGenerator(seed: 1, stream: .noise)
    let captions = try #require(splits.train.annotations.captions)
    var (read, wrong) = (0, 0)
    for number in 0..<300 {
      let picture = splits.train.image(at: number)
      let noisy = Image(
        width: 32, height: 32, channels: 3,
        pixels: picture.pixels.map { UInt8(clamping: Int($0) + Int.random(in: -20...20, using: &random)) })
      let scene = ShapeReader.scene(of: noisy)
      if scene?.captions == captions[number] { read += 1 }
      if scene?.captions == captions[(number + 1) % 300] { wrong += 1 }
    }
    #expect(read >= 295 && wrong <= 10, "\(read) read, \(wrong) as the next one")
  }

  @Test("What is no scene is not read as one")
  func others() {
    let plain = Image(width: 32, height: 32, channels: 3, pixels: [UInt8](repeating: 90, count: 32 * 32 * 3))
    #expect(ShapeReader.scene(of: plain) == nil)
    #expect(ShapeReader.scene(of: plain.converted(channels: 1)) == nil)
    // Three shapes: two of one picture and one beside them.
    var pixels = plain.pixels
    for (left, top) in [(2, 2), (20, 3), (10, 22)] {
      for row in top..<top + 7 {
        for column in left..<left + 7 {
          pixels.replaceSubrange(3 * (32 * row + column)..<3 * (32 * row + column) + 3, with: [230, 20, 20])
        }
      }
    }
    #expect(ShapeReader.scene(of: Image(width: 32, height: 32, channels: 3, pixels: pixels)) == nil)
  }
}
