import EaselTensors

/// Which patches of each image the encoder sees; the number is the same for every image.
public struct PatchMask {
  /// int32 `[N, K]`: the visible patches.
  public let visible: Tensor
  /// int32 `[N, T]`: each patch's index among the visible ones, or −1.
  public let places: Tensor
  /// Whether each patch is masked, image by image.
  public let isMasked: [Bool]

  /// - Parameters:
  ///   - visible: the indices of the visible patches, for each image; the same number for every image.
  ///   - patches: the number of patches of each image.
  ///   - backend: the backend that computes.
  public init(visible: [[Int32]], of patches: Int, on backend: any Backend) {
    let count = visible[0].count
    var places = [Int32](repeating: -1, count: visible.count * patches)
    for (image, chosen) in visible.enumerated() {
      require(chosen.count == count, "\(chosen.count) patches are seen of an image, \(count) of another")
      for (place, patch) in chosen.enumerated() { places[image * patches + Int(patch)] = Int32(place) }
    }
    self.visible = Tensor(visible.flatMap { $0 }, on: backend).reshaped([visible.count, count])
    self.places = Tensor(places, on: backend).reshaped([visible.count, patches])
    isMasked = places.map { $0 < 0 }
  }

  /// The first `count` patches of each image in the order of random numbers, as in facebookresearch/mae.
  static func random(images: Int, patches: Int, seeing count: Int, _ draw: RandomDraw, on backend: any Backend)
    -> PatchMask
  {
    let noise = Tensor(uninitialized: [images, patches], on: backend)
    backend.fillUniform(noise, draw)
    let numbers = noise.values()
    let visible = (0..<images).map { image in
      // Numbers from 0 to 1 are in the same order as their bits.
      (0..<patches).map { UInt64(numbers[image * patches + $0].bitPattern) << 32 | UInt64($0) }
        .sorted().prefix(count).map { Int32(truncatingIfNeeded: $0) }
    }
    return PatchMask(visible: visible, of: patches, on: backend)
  }

  /// A mask that hides nothing.
  static func none(images: Int, patches: Int, on backend: any Backend) -> PatchMask {
    PatchMask(
      visible: [[Int32]](repeating: Array(0..<Int32(patches)), count: images), of: patches, on: backend)
  }
}
