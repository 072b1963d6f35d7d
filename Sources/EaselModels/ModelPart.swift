/// A model of another checkpoint that a family's models use as it is: the autoencoder whose codes are drawn, say, or the encoder
/// of texts.
///
/// The family's settings name the checkpoint, under the part's name as key; empty stands for none. What trains the model puts a
/// copy of it into the run, once, so that the run's checkpoints need nothing from outside.
public struct ModelPart: Sendable {
  /// The key of the setting that names the checkpoint, and the part's in ``ModelContext/parts``.
  public let name: String
  /// What the part has to do, for messages: `"codes of images"`.
  public let purpose: String
  /// Whether a model can do it.
  public let fits: @Sendable (any Model) -> Bool
  /// A preset that makes one, for people who have none.
  public let example: String

  public init(_ name: String, _ purpose: String, example: String, fits: @escaping @Sendable (any Model) -> Bool) {
    (self.name, self.purpose, self.fits, self.example) = (name, purpose, fits, example)
  }
}
