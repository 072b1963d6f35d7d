import EaselLayers
import EaselSupport

/// Where a diffusion model works: on the pixels of images, or on their latents.
///
/// Images are float32 `[N, H, W, C]`, 0 to 1, as everywhere; points of the space are float32 `[N, h, w, c]`.
protocol DiffusionSpace {
  /// c.
  var channels: Int { get }
  /// Whether points have values −1 to 1.
  var isBounded: Bool { get }
  func shape(_ count: Int) -> Shape
  func encode(_ images: Tensor) -> Tensor
  func decode(_ points: Tensor) -> Tensor
  /// The points of a batch to learn from, and the changes to its images, `[N, NonLeakyAugmentation.parameterCount]`.
  ///
  /// - Parameters:
  ///   - batch: images.
  ///   - augmentation: changes images; nil for none.
  ///   - draw: the random numbers of the changes.
  func lesson(_ batch: Batch, _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw) -> (
    points: Tensor, changes: Tensor?
  )
  /// Which values of points are missing, `[N, h, w, c]`: all that a missing pixel belongs to.
  ///
  /// - Parameter missing: `[N, H, W, 1]`: 1 for missing pixels, 0 for known ones.
  func mask(_ missing: Tensor) -> Tensor
}

extension DiffusionSpace {
  /// Every point's channels of a mask `[N, h, w]`.
  fileprivate func mask(_ values: some Sequence<Float>, count: Int, on backend: any Backend) -> Tensor {
    Tensor(values.flatMap { [Float](repeating: $0, count: channels) }, shape: shape(count), on: backend)
  }
}

/// Pixels, −1 to 1.
struct PixelSpace: DiffusionSpace {
  let context: ModelContext

  var channels: Int { context.data.channels }
  var isBounded: Bool { true }
  func shape(_ count: Int) -> Shape { context.data.shape(count) }
  func encode(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 2, shift: -1) }
  func decode(_ points: Tensor) -> Tensor { context.backend.affine(points, scale: 0.5, shift: 0.5) }

  func lesson(_ batch: Batch, _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw) -> (
    points: Tensor, changes: Tensor?
  ) {
    augmentation?.apply(to: batch, draw, on: context.backend)
      ?? (batch.tensor(signed: true, on: context.backend), nil)
  }

  func mask(_ missing: Tensor) -> Tensor { mask(missing.values(), count: missing.shape[0], on: context.backend) }
}

/// The latents of an autoencoder (Rombach et al. 2022). Those of training images are computed once.
struct LatentSpace: DiffusionSpace {
  let autoencoder: any LatentCoding
  private let memory = LatentMemory()

  init(_ autoencoder: any LatentCoding) { self.autoencoder = autoencoder }

  private var backend: any Backend { autoencoder.context.backend }
  var channels: Int { shape(1).last }
  var isBounded: Bool { false }
  func shape(_ count: Int) -> Shape { autoencoder.latentShape(count) }
  func encode(_ images: Tensor) -> Tensor { autoencoder.latents(of: images) }
  func decode(_ points: Tensor) -> Tensor { autoencoder.images(ofLatents: points) }

  func lesson(_ batch: Batch, _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw) -> (
    points: Tensor, changes: Tensor?
  ) {
    memory.lesson(batch, augmentation, draw, shape: shape, on: backend) { encode($0) }
  }

  func mask(_ missing: Tensor) -> Tensor {
    let (count, height, width) = (missing.shape[0], missing.shape[1], missing.shape[2])
    let (rows, columns) = (shape(1)[1], shape(1)[2])
    let pixels = missing.values()
    /// The pixels that a cell covers, if only in part.
    func range(_ cell: Int, of cells: Int, _ size: Int) -> Range<Int> {
      cell * size / cells..<((cell + 1) * size + cells - 1) / cells
    }
    var values: [Float] = []
    for n in 0..<count {
      for row in 0..<rows {
        for column in 0..<columns {
          let isMissing = range(row, of: rows, height).contains { y in
            range(column, of: columns, width).contains { x in pixels[(n * height + y) * width + x] > 0 }
          }
          values.append(isMissing ? 1 : 0)
        }
      }
    }
    return mask(values, count: count, on: backend)
  }
}

/// The latents of images that a training has met, by the images' bytes: an encoder takes as long as a training step, and
/// the same images come again and again.
///
/// An image that the settings change has a fixed number of changed versions, so that these can be kept too.
private final class LatentMemory {
  private struct Key: Hashable {
    let image: String
    /// Nil for the image as it is.
    let version: Int?
  }

  private struct Entry {
    let latents: [Float]
    let changes: [Float]
  }

  /// The most memory that latents take, in bytes. What has no room is computed each time.
  private static let capacity = 2 << 30
  /// How many changed versions an image has.
  private static let versions = 16

  private var entries: [Key: Entry] = [:]
  private var size = 0

  func lesson(
    _ batch: Batch, _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw, shape: (Int) -> Shape,
    on backend: any Backend, encode: (Tensor) -> Tensor
  ) -> (points: Tensor, changes: Tensor?) {
    let images = batch.parts(batch.count)
    let keys = zip(images, versions(of: images.count, augmentation, draw, on: backend)).map {
      Key(image: hash($0), version: $1)
    }
    var asked = Set<Key>()
    let missing = zip(keys, images).filter { entries[$0.0] == nil && asked.insert($0.0).inserted }
    let made = make(missing, augmentation, draw, on: backend, encode)
    // What was computed after the work was abandoned means nothing.
    if !backend.threads.isAbandoned {
      for (key, entry) in made where size < Self.capacity {
        entries[key] = entry
        size += 4 * (entry.latents.count + entry.changes.count)
      }
    }
    let found = keys.compactMap { entries[$0] ?? made[$0] }
    let changes = augmentation.map { _ in
      Tensor(
        found.flatMap(\.changes), shape: [found.count, NonLeakyAugmentation.parameterCount], on: backend)
    }
    return (Tensor(found.flatMap(\.latents), shape: shape(found.count), on: backend), changes)
  }

  /// The version of each image that a batch shows.
  private func versions(
    of count: Int, _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw, on backend: any Backend
  ) -> [Int?] {
    guard augmentation != nil else { return [Int?](repeating: nil, count: count) }
    let numbers = Tensor(uninitialized: [count], on: backend)
    // The changes themselves take two kinds of random numbers.
    backend.fillUniform(
      numbers, RandomDraw(seed: draw.seed, stream: draw.stream, index: draw.index, draw: draw.draw + 2))
    return numbers.values().map { min(Self.versions - 1, Int($0 * Float(Self.versions))) }
  }

  private func make(
    _ images: [(key: Key, batch: Batch)], _ augmentation: NonLeakyAugmentation?, _ draw: RandomDraw,
    on backend: any Backend, _ encode: (Tensor) -> Tensor
  ) -> [Key: Entry] {
    guard let first = images.first?.batch else { return [:] }
    let whole = Tensor(uninitialized: [images.count, first.height, first.width, first.channels], on: backend)
    var changes: [[Float]] = []
    for (index, image) in images.enumerated() {
      let changed = augmentation?.apply(to: image.batch, self.draw(of: image.key, draw), on: backend)
      let pixels =
        changed.map { backend.affine($0.images, scale: 0.5, shift: 0.5) } ?? image.batch.tensor(on: backend)
      backend.copy(pixels, into: whole[index..<index + 1])
      changes.append(changed?.parameters?.values() ?? [])
    }
    let latents = encode(whole)
    let (values, length) = (latents.values(), latents.count / images.count)
    return Dictionary(
      uniqueKeysWithValues: images.indices.map { index in
        let latents = Array(values[index * length..<(index + 1) * length])
        return (images[index].key, Entry(latents: latents, changes: changes[index]))
      })
  }

  /// A version's own random numbers, whenever it is made.
  private func draw(of key: Key, _ draw: RandomDraw) -> RandomDraw {
    let number = UInt64(key.image.prefix(15), radix: 16) ?? 0
    return RandomDraw(
      seed: draw.seed, stream: draw.stream, index: number + UInt64(key.version ?? 0), draw: draw.draw)
  }

  private func hash(_ image: Batch) -> String {
    let hash = SHA256()
    image.pixels.withUnsafeBytes { hash.update($0) }
    return hash.hexadecimal()
  }
}
