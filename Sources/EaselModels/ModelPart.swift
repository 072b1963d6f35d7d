/// A model from another checkpoint that a family's models use unchanged: for example an autoencoder for codes, or an
/// encoder of texts.
///
/// The family's settings name the checkpoint, with the part's name as key; empty stands for none. The trainer copies it
/// into the run, once, so that the run's checkpoints need nothing from outside.
public struct ModelPart: Sendable {
  /// The key of the setting that names the checkpoint, and of the part in ``ModelContext/parts``.
  public let name: String
  /// What the part is for, in messages: `"codes of images"`.
  public let purpose: String
  /// Whether a model is suitable.
  public let fits: @Sendable (any Model) -> Bool
  /// A preset that makes one, for people who have none.
  public let example: String

  public init(_ name: String, _ purpose: String, example: String, fits: @escaping @Sendable (any Model) -> Bool) {
    (self.name, self.purpose, self.fits, self.example) = (name, purpose, fits, example)
  }
}
