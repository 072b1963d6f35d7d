import EaselMetrics
import Testing

struct ImageSimilarityTests {
  @Test("Figures are scikit-image's", arguments: ["grey", "colour", "least"])
  func golden(name: String) throws {
    let (a, b) = (try Golden.image("images.\(name).a"), try Golden.image("images.\(name).b"))
    let expected = try Golden.numbers("images.\(name).figures")
    #expect(abs(a.signalToNoise(to: b) - expected[0]) < 1e-5)
    #expect(abs(a.structuralSimilarity(to: b) - expected[1]) < 1e-6)
    #expect(abs(a.absoluteError(to: b) - expected[2]) < 1e-7)
    #expect(abs(b.structuralSimilarity(to: a) - expected[1]) < 1e-6)
  }

  @Test func equalPicturesAreAlike() {
    let image = Image(width: 12, height: 14, channels: 3, pixels: (0..<504).map { UInt8($0 * 7 % 256) })
    #expect(image.signalToNoise(to: image) == 99)
    #expect(image.absoluteError(to: image) == 0)
    #expect(abs(image.structuralSimilarity(to: image) - 1) < 1e-12)
  }

  @Test("Pictures smaller than the window have a similarity too", arguments: [(1, 1), (2, 7), (10, 30)])
  func small(size: (width: Int, height: Int)) {
    func image(_ level: (Int) -> UInt8) -> Image {
      Image(
        width: size.width, height: size.height, channels: 1, pixels: (0..<size.width * size.height).map(level))
    }
    let (a, b) = (image { UInt8($0 * 31 % 256) }, image { UInt8($0 * 57 % 256) })
    #expect(abs(a.structuralSimilarity(to: a) - 1) < 1e-12)
    let similarity = a.structuralSimilarity(to: b)
    #expect(similarity.isFinite && similarity <= 1)
    // A flat picture's windows have no variance, so only the means count: 2ab/(a² + b²) with levels a and b.
    let (dark, light) = (image { _ in 51 }, image { _ in 204 })
    #expect(abs(dark.structuralSimilarity(to: light) - (2 * 0.2 * 0.8 + 1e-4) / (0.04 + 0.64 + 1e-4)) < 1e-9)
  }

  @Test func byHand() {
    let black = Image(width: 2, height: 1, channels: 1, pixels: [0, 0])
    let grey = Image(width: 2, height: 1, channels: 1, pixels: [51, 0])
    #expect(abs(black.absoluteError(to: grey) - 0.1) < 1e-12)
    // Mean squared error 0.02.
    #expect(abs(black.signalToNoise(to: grey) - 16.9897) < 1e-4)
    #expect(meanAbsoluteError([black, grey], [grey, grey]) == 0.05)
    #expect(abs(meanSignalToNoise([black, grey], [grey, grey]) - (16.9897 + 99) / 2) < 1e-4)
    let similarity = black.structuralSimilarity(to: grey)
    #expect(similarity < 0.9 && meanStructuralSimilarity([black, grey], [grey, grey]) == (similarity + 1) / 2)
  }

  @Test func thoseWhoseOwnOriginalIsNearest() {
    func pictures(_ levels: [[UInt8]]) -> [Image] {
      levels.map { Image(width: 2, height: 1, channels: 1, pixels: $0) }
    }
    let originals = pictures([[0, 0], [100, 0], [100, 200], [100, 0]])
    // Near its own; nearer to the first than to its own; as near to its own as to another; far, but nearest to its own twin.
    #expect(retrievalRate(pictures([[40, 9], [45, 0], [100, 100], [200, 0]]), originals) == 0.75)
    #expect(retrievalRate(originals, originals) == 1)
  }
}
