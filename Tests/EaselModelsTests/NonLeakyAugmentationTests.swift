import EaselModels
import EaselTestSupport
import Foundation
import Testing

@Suite struct NonLeakyAugmentationTests {
  private static let draw = RandomDraw(seed: 3, stream: .noise, index: 40, draw: 3)

  private struct Changed {
    let images, parameters: [Float]

    init(_ batch: Batch, probability: Float, _ draw: RandomDraw = NonLeakyAugmentationTests.draw) throws {
      (images, parameters) = try onTensors { backend in
        let (images, parameters) = NonLeakyAugmentation(probability: probability).apply(to: batch, draw, on: backend)
        return (images.values(), parameters?.values() ?? [])
      }
    }
  }

  /// The same image many times, with a level that rises along both axes by whole numbers.
  private static func ramps(_ count: Int, width: Int, height: Int) -> Batch {
    let image = (0..<height).flatMap { y in (0..<width).map { x in UInt8(7 * x + 4 * y) } }
    return Batch(
      number: 0, pixels: [[UInt8]](repeating: image, count: count).flatMap(\.self), count: count,
      width: width, height: height, channels: 1)
  }

  @Test("The parameters determine where every pixel comes from", arguments: [Float(0), 0.3, 1])
  func parameters(_ probability: Float) throws {
    let (count, width, height) = (60, 20, 16)
    let changed = try Changed(Self.ramps(count, width: width, height: height), probability: probability)
    var (inside, worst) = (0, 0.0)
    for index in 0..<count {
      let p = changed.parameters[9 * index..<9 * (index + 1)].map(Double.init)
      /// The changes to a position relative to the middle, one after the other.
      func forward(_ x: Double, _ y: Double) -> (x: Double, y: Double) {
        var (x, y) = (p[0] == 1 ? -x : x, p[1] == 1 ? -y : y)
        (x, y) = (x * pow(2, 0.2 * p[2]), y * pow(2, 0.2 * p[2]))
        let turn = atan2(p[4], p[3] + 1)
        (x, y) = (x * cos(turn) - y * sin(turn), x * sin(turn) + y * cos(turn))
        let (amount, angle) = (hypot(p[5], p[6]), atan2(p[6], p[5]) / 2)
        let (along, across) = (x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle))
        let (longer, shorter) = (along * pow(2, 0.2 * amount), across * pow(2, -0.2 * amount))
        (x, y) = (longer * cos(angle) - shorter * sin(angle), longer * sin(angle) + shorter * cos(angle))
        return (x + p[7] * Double(width) / 8, y + p[8] * Double(height) / 8)
      }
      // The matrix's columns and its inverse.
      let (origin, right, down) = (forward(0, 0), forward(1, 0), forward(0, 1))
      let (a, b, c, d) = (right.x - origin.x, down.x - origin.x, right.y - origin.y, down.y - origin.y)
      for y in 0..<height {
        for x in 0..<width {
          let (u, v) = (Double(x) - 9.5 - origin.x, Double(y) - 7.5 - origin.y)
          let source = ((d * u - b * v) / (a * d - b * c) + 9.5, (a * v - c * u) / (a * d - b * c) + 7.5)
          // Outside, the image is mirrored and no longer a ramp.
          guard (0...19.0).contains(source.0), (0...15.0).contains(source.1) else { continue }
          inside += 1
          let expected = (7 * source.0 + 4 * source.1) * 2 / 255 - 1
          worst = max(worst, abs(Double(changed.images[(index * height + y) * width + x]) - expected))
        }
      }
    }
    #expect(worst < 1e-3)
    #expect(inside > count * width * height / 2)
  }

  @Test("Changes happen as often as set; with probability 0 images are only mirrored")
  func frequencies() throws {
    let batch = Self.ramps(2000, width: 2, height: 2)
    func fraction(_ probability: Float, _ parameter: Int) throws -> Double {
      let parameters = try Changed(batch, probability: probability).parameters
      return Double((0..<2000).count { parameters[9 * $0 + parameter] != 0 }) / 2000
    }
    for parameter in 0..<9 {
      let found = (try fraction(0, parameter), try fraction(0.2, parameter), try fraction(1, parameter))
      switch parameter {
      case 0: #expect(abs(found.0 - 0.5) < 0.05 && found.0 == found.1 && found.0 == found.2)
      case 1: #expect(found.0 == 0 && abs(found.1 - 0.1) < 0.03 && abs(found.2 - 0.5) < 0.05)
      default: #expect(found.0 == 0 && abs(found.1 - 0.2) < 0.04 && found.2 == 1)
      }
    }
  }

  @Test("Mirrored images are exact, and the others are unchanged")
  func mirrored() throws {
    let data = DataDescription(width: 5, height: 3, channels: 2)
    let batch = blobs(data, count: 30)
    let changed = try Changed(batch, probability: 0)
    var expected: [Float] = []
    for image in 0..<30 {
      let isMirrored = changed.parameters[9 * image] == 1
      for (y, x, channel) in (0..<3).flatMap({ y in (0..<5).flatMap { x in (0..<2).map { (y, x, $0) } } }) {
        let source = batch.pixels[((image * 3 + y) * 5 + (isMirrored ? 4 - x : x)) * 2 + channel]
        expected.append(Float(source) / 127.5 - 1)
      }
    }
    #expect(largestDifference(changed.images, expected) < 1e-5)
  }

  @Test("An image's change depends only on its index in the run")
  func places() throws {
    let batch = blobs(count: 10)
    let whole = try Changed(batch, probability: 0.7)
    var later = Self.draw
    later.index += 4
    let part = try Changed(
      Batch(
        number: 0, pixels: Array(batch.pixels[4 * 64..<7 * 64]), count: 3, width: 8, height: 8, channels: 1
      ),
      probability: 0.7, later)
    #expect(part.images == Array(whole.images[4 * 64..<7 * 64]))
    #expect(part.parameters == Array(whole.parameters[4 * 9..<7 * 9]))
  }

  @Test("The network receives the change in training, and draws unchanged images")
  func network() throws {
    let (names, gradient, same) = try onTensors { backend -> (Set<String>, Double, Bool) in
      let settings = tinyDiffusion { $0.augment = 0.5 }
      let model = try perturbedDiffusion(settings, on: backend)
      let arena = model.components[0].arena
      let tape = Tape()
      tape.backward(from: model.loss(blobs(count: 8), on: tape) { RandomDraw(seed: 1, stream: .noise, draw: $0) }.loss)
      let embedding = try #require(arena.parameters.first { $0.name == "augmentation_embedding.weight" })
      let before = try model.sample(0..<2, SamplingOptions()) { _ in }.values()
      backend.fill(embedding.value, with: 3)
      arena.values.storage.markModified()
      let after = try model.sample(0..<2, SamplingOptions()) { _ in }.values()
      return (Set(arena.parameters.map(\.name)), norm(embedding.gradient.values()), before == after)
    }
    #expect(gradient > 1e-6)
    #expect(same)
    let plain = try onTensors { backend in
      try perturbedDiffusion(on: backend).components[0].arena.parameters.map(\.name)
    }
    #expect(names.symmetricDifference(plain) == ["augmentation_embedding.weight"])
  }
}
