import EaselLayers

/// Images that a generator made recently (Shrivastava et al. 2017). A discriminator that sees old images among the new
/// ones does not forget what it has learned.
///
/// While the pool fills, images pass through. Then half of them, at random, are exchanged for older ones.
package final class ImagePool {
  private let images: Tensor
  /// The number of images, as a tensor, so that it is saved with them.
  private let filled: Tensor
  private let capacity: Int

  package init(capacity: Int, of data: DataDescription, on backend: any Backend) {
    self.capacity = capacity
    images = Tensor(repeating: 0, shape: data.shape(capacity), on: backend)
    filled = Tensor(repeating: 0, shape: [1], on: backend)
  }

  /// What ``Component/trainingState`` keeps.
  package func state(_ name: String) -> [(name: String, tensor: Tensor)] {
    capacity == 0 ? [] : [("\(name).images", images), ("\(name).count", filled)]
  }

  /// Takes images `[N, H, W, C]`, float32, one after the other, and returns the same number.
  package func exchange(_ fresh: Tensor, _ draw: RandomDraw) -> Tensor {
    if capacity == 0 { return fresh }
    let backend = fresh.backend
    let chances = Tensor(uninitialized: [fresh.shape[0], 2], on: backend)
    backend.fillUniform(chances, draw)
    let numbers = chances.values()
    let given = Tensor(uninitialized: fresh.shape, on: backend)
    // A checkpoint may contain any number, so clamp it.
    var count = Int(Float.maximum(0, .minimum(Float(capacity), filled.item())))
    for n in 0..<fresh.shape[0] {
      let (image, place) = (fresh[n..<n + 1], given[n..<n + 1])
      if count < capacity {
        backend.copy(image, into: images[count..<count + 1])
        backend.copy(image, into: place)
        count += 1
      } else if numbers[2 * n] < 0.5 {
        let chosen = min(capacity - 1, Int(numbers[2 * n + 1] * Float(capacity)))
        backend.copy(images[chosen..<chosen + 1], into: place)
        backend.copy(image, into: images[chosen..<chosen + 1])
      } else {
        backend.copy(image, into: place)
      }
    }
    backend.fill(filled, with: Float(count))
    return given
  }
}
