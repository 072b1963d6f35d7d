import EaselModels
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

@Suite struct CorruptionTests {
  static let data = DataDescription(width: 24, height: 16, channels: 3)

  private static func damaged(_ corruption: Corruption, index: UInt64 = 0, count: Int = 8) throws -> [Float] {
    try onTensors { backend in
      let images = Tensor(repeating: 0.25, shape: data.shape(count), on: backend)
      return corruption.apply(to: images, RandomDraw(seed: 3, stream: .noise, index: index)).values()
    }
  }

  @Test("Gaussian noise has the stated deviation and is not clipped")
  func gaussian() throws {
    let noise = try Self.damaged(Corruption(.gaussian, strength: 0.4)).map { Double($0) - 0.25 }
    let mean = noise.reduce(0, +) / Double(noise.count)
    let deviation = (noise.reduce(0) { $0 + $1 * $1 } / Double(noise.count)).squareRoot()
    #expect(abs(mean) < 0.02 && abs(deviation - 0.4) < 0.01)
    #expect(noise.contains { $0 < -0.25 })
  }

  @Test("Salt and pepper replaces the stated share of pixels in all channels, half of them with black")
  func saltAndPepper() throws {
    let levels = try Self.damaged(Corruption(.saltAndPepper, strength: 0.2))
    let pixels = stride(from: 0, to: levels.count, by: 3).map { Array(levels[$0..<$0 + 3]) }
    #expect(pixels.allSatisfy { Set($0).count == 1 && [0, 0.25, 1].contains($0[0]) })
    let (black, white) = (pixels.count { $0[0] == 0 }, pixels.count { $0[0] == 1 })
    let fraction = Double(black + white) / Double(pixels.count)
    #expect(abs(fraction - 0.2) < 0.02 && abs(Double(black) / Double(black + white) - 0.5) < 0.06, "\(black), \(white)")
  }

  @Test("Squares are grey and a quarter of the shorter side wide, and together have the stated area")
  func squares() throws {
    let levels = try Self.damaged(Corruption(.squares, strength: 0.25))
    let size = 24 * 16 * 3
    for image in 0..<8 {
      let grey = levels[image * size..<(image + 1) * size].count { $0 == 0.5 } / 3
      // Six squares of 4 × 4, which may overlap.
      #expect(
        (16...96).contains(grey) && levels[image * size..<(image + 1) * size].allSatisfy { $0 == 0.5 || $0 == 0.25 })
    }
    #expect(Set((0..<8).map { Array(levels[$0 * size..<($0 + 1) * size]) }).count == 8)
  }

  @Test("An image's damage does not depend on the images beside it", arguments: Corruption.Kind.allCases)
  func keyedByIndex(kind: Corruption.Kind) throws {
    let corruption = Corruption(kind, strength: 0.3)
    let all = try Self.damaged(corruption)
    let size = all.count / 8
    #expect(try Self.damaged(corruption, index: 5, count: 2) == Array(all[5 * size..<7 * size]))
  }

  @Test("A strength that means nothing is refused")
  func refusals() {
    for (kind, strength) in [(Corruption.Kind.gaussian, 0), (.gaussian, .nan), (.saltAndPepper, 1), (.squares, -1)] {
      expectUserError(.usage, "noise") {
        var check = FieldCheck()
        Corruption(kind, strength: Float(strength)).check(&check, "noise")
        try check.finish()
      }
    }
  }
}

@Suite struct DenoisingAutoencoderTests {
  @Test("It learns to restore images from each kind of damage", arguments: Corruption.Kind.allCases)
  func learns(kind: Corruption.Kind) throws {
    let data = DataDescription(width: 12, height: 10, channels: 3)
    let steps = try onTensors { backend in
      var settings = DenoisingAutoencoderSettings()
      (settings.baseChannels, settings.corruption) = (16, kind)
      let model = try DenoisingAutoencoder(settings, .float32(on: backend, data))
      let training = TrainingSettings { $0.learningRate = 3e-3 }
      model.prepareForTraining(training)
      let batch = blobs(data, count: 16)
      let clean = batch.tensor(on: backend)
      let noisy = model.corruption.apply(to: clean, RandomDraw(seed: 9, stream: .sampling))
      let damaged = norm((noisy - clean).values())
      let steps = model.train(on: batch, training) { _ in
        let back = model.restore(noisy, from: model.corruption, seed: 0) { _ in }
        return norm((back - clean).values()) < 0.5 * damaged
      }
      return steps
    }
    #expect(steps != nil)
  }

  @Test("It is trained on the damaged image, not on the clean one")
  func seesDamage() throws {
    let losses = try onTensors { backend in
      try [Float(1e-6), 1].map { strength in
        var settings = DenoisingAutoencoderSettings()
        (settings.baseChannels, settings.strength) = (8, strength)
        let model = try DenoisingAutoencoder(settings, .float32(on: backend, .tiny))
        return model.validationLoss(blobs(count: 4))
      }
    }
    #expect(losses[0] != losses[1])
  }
}
