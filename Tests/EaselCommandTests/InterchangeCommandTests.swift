import EaselKit
import EaselTestSupport
import Foundation
import Testing

extension CommandTests {
  @Test func aFoldersRunDrawsIsTunedAndGoesBack() throws {
    let program = try Program()
    let source = fixture("folders/sd")
    let imported = try program.run("import", source, "--run", "stable")
    #expect(imported.status == 0, "\(imported.errors)")
    #expect(imported.output == program.path("Checkpoints/stable/step-00000000") + "\n")
    for text in ["StableDiffusionPipeline: diffusion", "easel sample stable"] {
      #expect(imported.errors.contains(text))
    }
    #expect(try program.run("import", source, "--run", "stable").status == 73)
    let before = try program.bytes("Checkpoints/stable/step-00000000/manifest.json")
    #expect(try program.run("import", source, "--run", "stable", "--overwrite").status == 0)
    #expect(try program.bytes("Checkpoints/stable/step-00000000/manifest.json") == before)

    let drawing = ["--count", "2", "--steps", "2", "--prompt", "a red circle", "--array"]
    let drawn = try program.run(["sample", "stable", "--output", "a.png"] + drawing + ["a.npy"])
    #expect(drawn.status == 0, "\(drawn.errors)")
    #expect(try program.run("verify", "stable").status == 0)
    #expect(try program.run("resume", "stable", "--steps", "9").status == 69)

    // A folder that is where its run would be is not replaced.
    try FileManager.default.copyItem(atPath: source, toPath: program.path("Checkpoints/beside"))
    let inside = try program.run("import", "Checkpoints/beside", "--overwrite")
    #expect(inside.status == 64 && inside.errors.contains("is in the folder of the run beside"))
    #expect(program.contents.contains("Checkpoints/beside/model_index.json"))

    let exported = try program.run("export", "stable", "--format", "diffusers", "--output", "given")
    #expect(exported.status == 0, "\(exported.errors)")
    #expect(exported.output == "given\n" && !program.contents.contains("given/manifest.json"))
    #expect(try program.run("export", "stable", "--format", "diffusers", "--output", "given").status == 73)
    #expect(
      try program.run("export", "stable", "--format", "diffusers", "--output", "given", "--overwrite").status == 0)
    #expect(try program.run("import", "given").status == 0)
    #expect(try program.run(["sample", "given", "--output", "b.png"] + drawing + ["b.npy"]).status == 0)
    #expect(try program.bytes("a.npy") == program.bytes("b.npy"))

    try program.writeImages("pictures", side: 16, channels: 3)
    let tuned = try program.run(
      "train", "diffusion", "--config", "Checkpoints/stable/step-00000000/config.yaml", "--from", "stable", "--data",
      "pictures", "--caption-template", "a {} picture", "--batch-size", "4", "--steps", "2", "--run", "tuned")
    #expect(tuned.status == 0, "\(tuned.errors)")
    #expect(try program.run("verify", "tuned").status == 0)
  }

  @Test func whatCannotBeExchangedIsRefused() throws {
    let program = try Program()
    #expect(try program.run("import", "nothing").status == 66)
    try program.writeImages("images", channels: 3)
    let refused = try program.run("import", "images")
    #expect(refused.status == 66 && refused.errors.contains("model_index.json"))
    #expect(!program.contents.contains("Checkpoints"))
    let edm = ["--set", "noise-schedule=edm", "--set", "prediction=velocity"]
    #expect(try program.trainTinyDiffusion(run: "tiny", steps: 1, edm).status == 0)
    let exported = try program.run("export", "tiny", "--format", "diffusers", "--output", "given")
    #expect(exported.status == 69 && exported.errors.contains("noise-schedule"), "\(exported.errors)")
    #expect(!program.contents.contains("given"))
  }
}
