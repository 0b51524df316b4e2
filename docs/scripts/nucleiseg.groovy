/*
 * Finds nuclei in the selected annotation, or in the whole image if nothing is selected, and adds them
 * as detections with their measurements. For QuPath 0.4 or newer: Automate > Script editor, then Run.
 *
 * QuPath exports the region at full resolution, nucleiseg segments it on this computer, and the outlines
 * are moved to where the region is. A whole slide is too large to export: use `nucleiseg slide` for that.
 */

import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools
import qupath.lib.regions.ImagePlane
import qupath.lib.regions.RegionRequest

import java.awt.geom.AffineTransform
import java.nio.file.Files

import static qupath.lib.scripting.QP.*

def program = "nucleiseg"  // the full path where QuPath does not find it, such as /home/me/venv/bin/nucleiseg
def model = "nuclei"       // "nuclei" for tissue, "nuclei-fast" for fluorescence
def channel = ""           // of fluorescence with several channels: the number of the one with nuclei, from 0

def server = getCurrentServer()
def selected = getSelectedObject()
def parent = selected == null || selected.isDetection() ? getCurrentHierarchy().getRootObject() : selected
def roi = parent.getROI()

int left = 0, top = 0, right = server.getWidth(), bottom = server.getHeight(), z = 0, t = 0
if (roi != null) {
    left = Math.max(left, (int) Math.floor(roi.getBoundsX()))
    top = Math.max(top, (int) Math.floor(roi.getBoundsY()))
    right = Math.min(right, (int) Math.ceil(roi.getBoundsX() + roi.getBoundsWidth()))
    bottom = Math.min(bottom, (int) Math.ceil(roi.getBoundsY() + roi.getBoundsHeight()))
    z = roi.getZ()
    t = roi.getT()
}

def folder = Files.createTempDirectory("nucleiseg").toFile()
def image = new File(folder, "region.tif")
def request = RegionRequest.createInstance(
        server.getPath(), 1.0, left, top, right - left, bottom - top, z, t)
writeImageRegion(server, request, image.getPath())

def arguments = [program, "segment", image.getPath(), "--output", folder.getPath(), "--save", "geojson",
                 "--model", model]
def calibration = server.getPixelCalibration()
if (calibration.hasPixelSizeMicrons()) {
    def micrometres = calibration.getAveragedPixelSizeMicrons()
    arguments += ["--mpp", micrometres.toString()]
}
if (channel) {
    arguments += ["--channel", channel]
}
def process = new ProcessBuilder(arguments).redirectErrorStream(true).start()
print process.getInputStream().getText()
if (process.waitFor() != 0) {
    throw new IOException("nucleiseg failed; its message is above, the region is " + image)
}

def shift = AffineTransform.getTranslateInstance(left, top)
def plane = ImagePlane.getPlane(z, t)
def nuclei = PathIO.readObjects(new File(folder, "region_nuclei.geojson")).collect { nucleus ->
    def moved = PathObjectTools.transformObject(nucleus, shift, true, true)
    return PathObjectTools.updatePlane(moved, plane, true, false)
}
if (roi != null) {
    // The region is the annotation's rectangle; only nuclei inside of the annotation are kept.
    nuclei = nuclei.findAll { roi.contains(it.getROI().getCentroidX(), it.getROI().getCentroidY()) }
}
parent.addChildObjects(nuclei)
fireHierarchyUpdate()
folder.deleteDir()
println nuclei.size() + " nuclei"
